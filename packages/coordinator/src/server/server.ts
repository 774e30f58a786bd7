/** The HTTP server with Socket.IO on it, with limits that strangers cannot get around, on a free port. */

import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { Server as SocketServer } from "socket.io";
import { Decoder, Encoder } from "socket.io-parser";
import { type AdmissionLimits, openAdmission } from "./admission.ts";

export interface ServerOptions {
  readonly app: RequestListener;
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly host: string;
  readonly port: number;
  readonly limits: AdmissionLimits;
  nowMs(): number;
  log(line: string): void;
}

export interface OpenServer {
  readonly http: Server;
  readonly io: SocketServer;
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

/** A frame's chunk is one attachment; more in one message would be held in memory before any check. */
class OneAttachmentDecoder extends Decoder {
  constructor() {
    super({ maxAttachments: 1 });
  }
}

/** Makes the server; it does not listen yet, so that handlers are in place before the first socket. */
export function createSocketServer(options: ServerOptions): OpenServer {
  const { app, tls, limits, nowMs, log } = options;
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
  const admission = openAdmission(limits);
  const io = new SocketServer(http, {
    // No polling: base64 costs a third more, and several servers would need sticky sessions.
    transports: ["websocket"],
    allowUpgrades: false,
    maxHttpBufferSize: 512 * 1024, // a chunk has 256 KiB
    perMessageDeflate: false, // gradients do not compress
    httpCompression: false,
    pingInterval: 15_000,
    pingTimeout: 30_000,
    connectTimeout: 10_000,
    serveClient: false,
    cleanupEmptyChildNamespaces: true,
    parser: { Encoder, Decoder: OneAttachmentDecoder },
    allowRequest(request, decide) {
      const refusal = admission.refusalOf(request, nowMs());
      if (refusal) log(`socket from ${request.socket.remoteAddress} refused: ${refusal}`);
      decide(refusal, !refusal);
    },
  });
  io.engine.on("connection", (connection: EngineConnection) => {
    const address = connection.request.socket.remoteAddress ?? "";
    admission.opened(address);
    connection.on("close", () => admission.closed(address));
  });

  return {
    http,
    io,
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
      await io.close(); // closes the HTTP server too
      http.closeAllConnections();
    },
  };
}

interface EngineConnection {
  readonly request: IncomingMessage;
  on(event: "close", listener: () => void): void;
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
