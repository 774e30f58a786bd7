/** Closes sockets whose peer does not read: what waits for them would fill the memory. */

import type { Server } from "socket.io";
import { type EngineConnection, unreadBytes } from "./engine-connection.ts";
import type { Refusals } from "./refusals.ts";

export interface UnreadLimits {
  /** Bytes that may wait for one socket. */
  readonly unreadBytes: number;
  /** Milliseconds for which something may wait without any of it being taken. */
  readonly unreadMs: number;
}

export const UNREAD_DEFAULTS: UnreadLimits = { unreadBytes: 4 * 2 ** 20, unreadMs: 30_000 };

/** Often enough that a socket cannot ask for much more than its limit between two looks. */
const LOOK_EVERY_MS = 500;

/** Starts to watch; returns what stops it. */
export function watchUnread(
  io: Server,
  limits: UnreadLimits,
  refusals: Refusals,
  nowMs: () => number,
): () => void {
  const waiting = new WeakMap<EngineConnection, { bytes: number; since: number }>();
  const look = () => {
    const now = nowMs();
    const { clients } = io.engine as unknown as { clients: Record<string, EngineConnection> };
    for (const connection of Object.values(clients)) {
      const bytes = unreadBytes(connection);
      if (bytes === 0) {
        waiting.delete(connection);
        continue;
      }
      const before = waiting.get(connection);
      const since = before && bytes >= before.bytes ? before.since : now;
      waiting.set(connection, { bytes, since });
      if (bytes <= limits.unreadBytes && now - since < limits.unreadMs) continue;
      const address = connection.request.socket.remoteAddress ?? "an address";
      refusals.refuse("UNREAD", `a socket from ${address}`, `${bytes} bytes were waiting`);
      connection.transport.socket?.terminate();
    }
  };
  const timer = setInterval(look, LOOK_EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}
