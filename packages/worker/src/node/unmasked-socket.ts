/** Node's WebSocket with the zero mask: the frames go out as they are. */

import { NodeWebSocket } from "socket.io-client";

/**
 * A client must mask what it sends, so that a page's script cannot write what a proxy takes for a
 * request. A program has no such script in it; masking byte by byte in JavaScript, and undoing it in the
 * coordinator's event loop, took four fifths of an upload's time. The library skips both for this mask.
 */
export class UnmaskedWebSocket extends NodeWebSocket {
  override createSocket(
    uri: string,
    protocols: string | string[] | undefined,
    options: Record<string, unknown>,
  ): unknown {
    const generateMask = (mask: Uint8Array) => void mask.fill(0);
    return super.createSocket(uri, protocols, { ...options, generateMask });
  }
}
