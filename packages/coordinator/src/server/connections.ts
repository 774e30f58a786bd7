/**
 * The TCP connections of the server, all of them: let in a few a turn and no more of one peer than may
 * be, metered, and ended.
 */

import type { Server } from "node:http";
import type { Socket } from "node:net";
import { isLoopback } from "./client-address.ts";
import type { Refusals } from "./refusals.ts";
import type { Turnstile } from "./turnstile.ts";

export interface ConnectionLimits {
  /** TCP connections of one peer: a browser opens six for downloads beside its socket. */
  readonly connectionsPerPeer: number;
  /** Proxies in front: then all connections have one peer. */
  readonly trustProxy: number;
}

export interface Connections {
  /**
   * Bytes since the last call: received, and handed to the connections. Read off the connections
   * themselves, below TLS and with all headers: frames, weights, shards, pages, what sockets say.
   */
  takeTraffic(): { readonly bytesIn: number; readonly bytesOut: number };
  /** Ends all that are open, at once. */
  end(): void;
}

/** Takes over the connections of a server that does not listen yet. */
export function openConnections(
  http: Server,
  turnstile: Turnstile,
  limits: ConnectionLimits,
  refusals: Refusals,
): Connections {
  const open = new Set<Socket>();
  const closed = { bytesIn: 0, bytesOut: 0 };
  const taken = { bytesIn: 0, bytesOut: 0 };
  const mayStay = limitPeers(limits, refusals);
  // With https the connection is still the plain one here, and the handshake waits its turn as well.
  const serve = http.listeners("connection");
  http.removeAllListeners("connection");
  http.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.on("error", () => {}); // while it waits nobody else listens, and the error would be thrown
    socket.once("close", () => {
      open.delete(socket);
      closed.bytesIn += socket.bytesRead;
      closed.bytesOut += socket.bytesWritten;
    });
    if (!mayStay(socket)) return void socket.destroy();
    turnstile.pass(() => {
      if (!socket.destroyed) for (const listener of serve) listener.call(http, socket);
    });
  });

  return {
    takeTraffic() {
      let { bytesIn, bytesOut } = closed;
      for (const { bytesRead, bytesWritten } of open) {
        bytesIn += bytesRead;
        bytesOut += bytesWritten;
      }
      const since = { bytesIn: bytesIn - taken.bytesIn, bytesOut: bytesOut - taken.bytesOut };
      Object.assign(taken, { bytesIn, bytesOut });
      return since;
    },
    end() {
      for (const socket of open) socket.destroy();
    },
  };
}

/** Before anything is read: one stranger may not take up all connections. */
function limitPeers(limits: ConnectionLimits, refusals: Refusals): (socket: Socket) => boolean {
  const open = new Map<string, number>();
  return (socket) => {
    const peer = socket.remoteAddress ?? "";
    if (limits.trustProxy > 0 || isLoopback(peer)) return true;
    const count = (open.get(peer) ?? 0) + 1;
    if (count > limits.connectionsPerPeer) {
      refusals.refuse("ADDRESS", `a connection from ${peer}`);
      return false;
    }
    open.set(peer, count);
    socket.once("close", () => {
      const left = (open.get(peer) ?? 1) - 1;
      if (left > 0) open.set(peer, left);
      else open.delete(peer);
    });
    return true;
  };
}
