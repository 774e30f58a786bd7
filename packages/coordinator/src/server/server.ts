/** The HTTP server with Socket.IO on it, with limits that strangers cannot get around, on a free port. */

import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { DASHBOARD_NAMESPACE, VOLUNTEER_NAMESPACE } from "@swarmvit/shared/protocol";
import { REFUSALS } from "@swarmvit/shared/refusals";
import { Server as SocketServer } from "socket.io";
import { Encoder } from "socket.io-parser";
import type { Admission } from "./admission.ts";
import { type ConnectionLimits, type Connections, openConnections } from "./connections.ts";
import {
  type EngineConnection,
  endConnection,
  LAST_WORDS_MS,
  leaveThrough,
} from "./engine-connection.ts";
import { limitedDecoder, type PacketLimits } from "./packet-decoder.ts";
import type { Refusals } from "./refusals.ts";
import { openTurnstile } from "./turnstile.ts";
import { type UnreadLimits, watchUnread } from "./unread-watch.ts";

export interface ServerOptions {
  readonly app: RequestListener;
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly host: string;
  readonly port: number;
  readonly limits: ServerLimits;
  readonly admission: Admission;
  readonly refusals: Refusals;
  nowMs(): number;
  log(line: string): void;
}

export interface ServerLimits extends PacketLimits, UnreadLimits, ConnectionLimits {
  readonly sockets: number;
  /** Milliseconds in which a socket must be a dashboard's, or have said a hello that is welcome. */
  readonly helloMs: number;
  /** Milliseconds between heartbeats, and in which one must be answered. */
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
}

/** A volunteer that came when there was no room says hello again after 15 s. */
export const SERVER_DEFAULTS = {
  connectionsPerPeer: 512,
  helloMs: 20_000,
  pingIntervalMs: 15_000,
  pingTimeoutMs: 30_000,
} as const;

export interface OpenServer {
  readonly connections: Pick<Connections, "takeTraffic">;
  readonly io: SocketServer;
  /** The socket has said who it is: it may stay. */
  greeted(socket: { readonly conn: object }): void;
  /** Listens on the port or one of the next ones; gives the port. Throws a `PortError`. */
  listen(): Promise<number>;
  /** Ends all connections. */
  close(): Promise<void>;
}

/** No port to listen on: exit code 4. */
export class PortError extends Error {
  override readonly name = "PortError";
}

const PORTS_TRIED = 20;

/** Each gate's share of a turn: a socket costs about a millisecond until it is welcomed. */
const GATE_PER_TURN = 8;

/** A download of which nothing was read for so long is broken off. */
const STALLED_MS = 60_000;

/** Makes the server; it does not listen yet, so that handlers are in place before the first socket. */
export function createSocketServer(options: ServerOptions): OpenServer {
  const { app, tls, limits, admission, refusals, nowMs, log } = options;
  const timeouts = {
    maxHeaderSize: 8192,
    headersTimeout: 10_000,
    requestTimeout: 120_000,
    keepAliveTimeout: 5_000,
    connectionsCheckingInterval: 5_000,
  };
  const http: Server = tls
    ? createTlsServer({ ...timeouts, ...tls }, app)
    : createServer(timeouts, app);
  http.maxConnections = limits.sockets + 1000; // beside the sockets: downloads
  http.maxRequestsPerSocket = 1000;
  http.setTimeout(STALLED_MS); // WebSockets are exempt: they have heartbeats
  const connections = openConnections(http, openTurnstile(GATE_PER_TURN), limits, refusals);
  const upgrades = openTurnstile(GATE_PER_TURN);
  const entries = openTurnstile(GATE_PER_TURN);
  const exits = openTurnstile(GATE_PER_TURN);
  const io = new SocketServer(http, {
    // No polling: base64 costs a third more, and several servers would need sticky sessions.
    transports: ["websocket"],
    allowUpgrades: false,
    maxHttpBufferSize: 512 * 1024, // a chunk has 256 KiB
    perMessageDeflate: false, // gradients do not compress
    httpCompression: false,
    pingInterval: limits.pingIntervalMs,
    pingTimeout: limits.pingTimeoutMs,
    connectTimeout: 2 * limits.helloMs, // what is silent is closed before, and counted
    serveClient: false,
    cleanupEmptyChildNamespaces: true,
    parser: { Encoder, Decoder: limitedDecoder(limits, refusals, nowMs) },
    allowRequest(request, decide) {
      const code = admission.refusalOf(request, nowMs());
      if (!code) return upgrades.pass(() => decide(null, true));
      const origin = code === "ORIGIN" ? request.headers.origin : undefined;
      const who = `a socket from ${admission.accountOf(request).network}`;
      decide(refusals.refuse(code, who, origin).message, false);
    },
  });
  const silent = new WeakMap<object, NodeJS.Timeout>();
  io.engine.on("connection", (connection: EngineConnection) => {
    leaveThrough(exits, connection);
    connection.on("close", admission.opened(connection.request));
    const who = `a socket from ${admission.accountOf(connection.request).network}`;
    const timer = setTimeout(() => {
      refusals.refuse("SILENT", who);
      endConnection(connection);
    }, limits.helloMs);
    timer.unref();
    silent.set(connection, timer);
    connection.on("close", () => clearTimeout(timer));
  });
  // Socket.IO makes this namespace by itself: a socket could stay in it for ever.
  io.of("/").use((_, next) => next(new Error(REFUSALS.MALFORMED.advice)));
  for (const name of [VOLUNTEER_NAMESPACE, DASHBOARD_NAMESPACE])
    io.of(name).use((_, next) => entries.pass(next));
  const stopWatching = watchUnread(io, limits, refusals, nowMs);

  return {
    connections,
    io,
    greeted: ({ conn }) => clearTimeout(silent.get(conn)),
    async listen() {
      const tried = options.port === 0 ? 1 : PORTS_TRIED;
      for (let port = options.port; port < options.port + tried && port < 65536; port++) {
        if (await tryListen(http, options.host, port)) {
          const found = (http.address() as AddressInfo).port;
          if (port !== options.port)
            log(`port ${options.port} is in use; listening on ${found} instead`);
          return found;
        }
      }
      throw new PortError(
        `no free port from ${options.port} to ${options.port + tried - 1} on ${options.host}: choose another --port`,
      );
    },
    async close() {
      stopWatching();
      // Who does not read or answer would hold up the end for half a minute.
      const last = setTimeout(() => connections.end(), LAST_WORDS_MS);
      await io.close(); // closes the HTTP server too
      clearTimeout(last);
    },
  };
}

/** True when it listens, false when the port is in use. */
function tryListen(http: Server, host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => {
      http.off("listening", onListening);
      if (error.code === "EADDRINUSE") resolve(false);
      else reject(new PortError(`cannot listen on ${host}, port ${port}: ${error.message}`));
    };
    const onListening = () => {
      http.off("error", onError);
      resolve(true);
    };
    http.once("error", onError);
    http.once("listening", onListening);
    http.listen(port, host);
  });
}
