/**
 * Bytes on the wire, both ways: frames, weights, shards, pages, and what sockets say, with all headers.
 * They are read off the connections themselves, so nothing is left out and nothing is guessed.
 */

import type { Server } from "node:http";
import type { Socket } from "node:net";

export interface Traffic {
  /** Bytes since the last call: received, and handed to the connections. */
  take(): { readonly bytesIn: number; readonly bytesOut: number };
}

/** Meters every connection of a server from now on. */
export function meterTraffic(http: Server): Traffic {
  const open = new Set<Socket>();
  let closedIn = 0;
  let closedOut = 0;
  let takenIn = 0;
  let takenOut = 0;
  // Below TLS: this event is the plain connection's with https as well.
  http.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.once("close", () => {
      open.delete(socket);
      closedIn += socket.bytesRead;
      closedOut += socket.bytesWritten;
    });
  });
  return {
    take() {
      let allIn = closedIn;
      let allOut = closedOut;
      for (const { bytesRead, bytesWritten } of open) {
        allIn += bytesRead;
        allOut += bytesWritten;
      }
      const taken = { bytesIn: allIn - takenIn, bytesOut: allOut - takenOut };
      takenIn = allIn;
      takenOut = allOut;
      return taken;
    },
  };
}
