/**
 * The volunteer's socket: the one place where anything is emitted. Nothing is queued while offline
 * (the client library would replay it after the reconnect, when it is stale): it is dropped or refused.
 */

import {
  type Abandon,
  type Chunk,
  type Credit,
  type Hello,
  type Offer,
  type Refusal,
  type ServerToVolunteer,
  VOLUNTEER_NAMESPACE,
  type VolunteerToServer,
  type Want,
  type Welcome,
} from "@swarmvit/shared/protocol";
import { io, type NodeWebSocket, type Socket } from "socket.io-client";
import { openUploadPace, type UploadPace } from "./upload-pace.ts";

const FIRST_RECONNECT_MS = 500;
const LAST_RECONNECT_MS = 15_000;
/** Half of the delay is chance, so that a swarm does not come back all at once. */
const RECONNECT_JITTER = 0.5;
/** A message unanswered for this long counts as lost with its link. A slow uplink needs most of it. */
const ANSWER_MS = 90_000;
/** For the answer to `leave`; a coordinator that is gone is not waited for. */
const GOODBYE_MS = 1_000;

/** A transport class of the client library. */
export type SocketTransport = typeof NodeWebSocket;

export interface ConnectionOptions {
  /** "https://host:port". */
  readonly origin: string;
  /** Node only: take any certificate. */
  readonly insecureTls?: boolean;
  /** Instead of the platform's WebSocket. */
  readonly transport?: SocketTransport;
  readonly on: {
    connected(): void;
    /** `retrying`: the client comes back by itself. */
    disconnected(reason: string): void;
    /** A connection attempt failed; more follow. */
    failed(error: Error): void;
  } & { readonly [K in keyof ServerToVolunteer]: ServerToVolunteer[K] };
}

/** Thrown to whoever waits for an answer when the link is gone. */
export class OfflineError extends Error {
  override readonly name = "OfflineError";
}

export interface Connection {
  /** Of frames on this link; nothing is known of it after a reconnect. */
  readonly pace: UploadPace;
  hello(hello: Hello): Promise<Welcome | Refusal>;
  offer(offer: Offer): Promise<Credit | Refusal>;
  chunk(chunk: Chunk, bytes: Uint8Array): Promise<Credit | Refusal>;
  want(want: Want): void;
  abandon(abandon: Abandon): void;
  leave(): void;
  /** Closes the socket once the goodbye, if one was said, has been answered. */
  close(): Promise<void>;
}

/** Opens the socket and keeps it open, with back-off and jitter, until it is closed. */
export function openConnection(options: ConnectionOptions): Connection {
  const { on } = options;
  const socket: Socket<ServerToVolunteer, VolunteerToServer> = io(
    `${options.origin}${VOLUNTEER_NAMESPACE}`,
    {
      transports: options.transport ? [options.transport] : ["websocket"],
      forceNew: true,
      reconnectionDelay: FIRST_RECONNECT_MS,
      reconnectionDelayMax: LAST_RECONNECT_MS,
      randomizationFactor: RECONNECT_JITTER,
      ...(options.insecureTls ? { rejectUnauthorized: false } : {}),
    },
  );
  let closed = false;
  let goodbye: Promise<unknown> | undefined;
  let rejoin: ReturnType<typeof setTimeout> | undefined;
  const pace = openUploadPace();
  socket.on("connect", () => {
    pace.reset();
    on.connected();
  });
  socket.on("disconnect", (reason) => {
    on.disconnected(reason);
    // After a disconnect by the server the library stays away; a coordinator that still wants us
    // answers, one that does not says so.
    if (reason === "io server disconnect" && !closed)
      rejoin = setTimeout(() => socket.connect(), FIRST_RECONNECT_MS * (1 + Math.random()));
  });
  socket.on("connect_error", (error) => on.failed(error));
  socket.on("lease", (lease) => on.lease(lease));
  socket.on("revoke", (revoke) => on.revoke(revoke));
  socket.on("verdict", (verdict) => on.verdict(verdict));
  socket.on("status", (status) => on.status(status));
  socket.on("notice", (notice) => on.notice(notice));

  const asked = async <T>(answer: () => Promise<T>): Promise<T> => {
    if (!socket.connected) throw new OfflineError("the coordinator is not connected");
    try {
      return await answer();
    } catch (error) {
      throw new OfflineError("the coordinator did not answer", { cause: error });
    }
  };
  // Anew for each message: `timeout` marks the next emit only.
  const patient = () => socket.timeout(ANSWER_MS);

  return {
    pace,
    hello: (hello) => asked(() => patient().emitWithAck("hello", hello)),
    offer: (offer) => asked(() => patient().emitWithAck("offer", offer)),
    chunk: (chunk, bytes) => asked(() => patient().emitWithAck("chunk", chunk, bytes)),
    want: (want) => {
      if (socket.connected) socket.emit("want", want);
    },
    abandon: (abandon) => {
      if (socket.connected) socket.emit("abandon", abandon);
    },
    leave: () => {
      if (!socket.connected) return;
      // The server may drop what it reads together with the end of the socket: wait until it has heard.
      goodbye = socket
        .timeout(GOODBYE_MS)
        .emitWithAck("leave")
        .catch(() => {});
    },
    async close() {
      closed = true;
      clearTimeout(rejoin);
      await goodbye;
      socket.disconnect();
    },
  };
}
