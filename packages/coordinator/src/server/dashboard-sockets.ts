/** The `/dashboard` namespace: the state at 4 Hz or less, new records, and the host's controls. */

import {
  type Control,
  controlSchema,
  DASHBOARD_NAMESPACE,
  type DashboardToServer,
  type ServerToDashboard,
} from "@swarmvit/shared/protocol";
import type { HistoryPage, RunState } from "@swarmvit/shared/run";
import type { Server, Socket } from "socket.io";
import { connectionOf, unreadBytes } from "./engine-connection.ts";
import { type GuardLimits, type GuardTools, guardSocket } from "./guard.ts";
import { isLocal } from "./http.ts";
import { isSameSecret } from "./secret.ts";
import { openTokenBucket } from "./token-bucket.ts";

export interface DashboardSocketsOptions extends GuardTools {
  readonly io: Server;
  readonly limits: GuardLimits;
  readonly hostToken: string;
  state(local: boolean): RunState;
  history(since: number): HistoryPage;
  control(action: Control["action"]): void;
  /** The socket has said who it is: it may stay. */
  greeted(socket: DashboardSocket): void;
}

export interface DashboardSockets {
  /** To be called often; sends what has changed since. */
  refresh(): void;
}

type DashboardSocket = Socket<DashboardToServer, ServerToDashboard>;

const STATE_EVERY_MS = 250;
/** Guesses of the host's token a minute, in all: it has enough bits, this is for the log. */
const GUESSES = 10;

/** Opens the namespace. */
export function openDashboardSockets(options: DashboardSocketsOptions): DashboardSockets {
  const namespace = options.io.of(DASHBOARD_NAMESPACE);
  const wrongTokens = openTokenBucket(GUESSES / 60, GUESSES);
  let cursor = options.history(Number.MAX_SAFE_INTEGER).cursor;
  let sentAt = Number.NEGATIVE_INFINITY;

  namespace.on("connection", (socket: DashboardSocket) => {
    options.greeted(socket);
    const guard = guardSocket(socket as unknown as Socket, options.limits, options);
    socket.data.local = isLocal({
      socket: { remoteAddress: socket.handshake.address } as never,
      headers: socket.handshake.headers,
    });
    socket.emit("state", options.state(socket.data.local));
    guard.on("control", controlSchema, ({ token, action }, acknowledge) => {
      if (isSameSecret(token, options.hostToken)) {
        options.control(action);
        return acknowledge({ ok: true });
      }
      if (!wrongTokens.take(options.nowMs())) socket.disconnect(true);
      guard.strike("HOST_TOKEN", `"${action}"`, acknowledge);
    });
  });

  return {
    refresh() {
      if (namespace.sockets.size === 0) {
        cursor = options.history(Number.MAX_SAFE_INTEGER).cursor;
        return;
      }
      const page = options.history(cursor);
      if (page.cursor !== cursor) {
        cursor = page.cursor;
        namespace.emit("history", page);
      }
      if (options.nowMs() - sentAt < STATE_EVERY_MS) return;
      sentAt = options.nowMs();
      const state = options.state(false);
      const text = JSON.stringify(state);
      const ready = [...namespace.sockets.values()].filter(
        // Not `volatile`: that would drop the last state for good where something is under way.
        (socket) => socket.data.sent !== text && unreadBytes(connectionOf(socket)) === 0,
      );
      for (const socket of ready) socket.data.sent = text;
      const local = ready.filter((socket) => socket.data.local);
      const remote = ready.filter((socket) => !socket.data.local);
      // To all at once: the state is then encoded once, not once for each.
      if (local.length > 0)
        namespace.to(local.map(({ id }) => id)).emit("state", options.state(true));
      if (remote.length > 0) namespace.to(remote.map(({ id }) => id)).emit("state", state);
    },
  };
}
