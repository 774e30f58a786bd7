/** How far behind a peer is in reading what it is sent. */

/** Packets that the transport has not taken yet; engine.io sets no bound of its own. */
export function waitingPackets(socket: { readonly conn: object }): number {
  return (socket.conn as { writeBuffer?: readonly unknown[] }).writeBuffer?.length ?? 0;
}
