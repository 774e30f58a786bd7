/**
 * What engine.io does not offer: how much a peer has left unread, an end that needs no peer, and a gate
 * for those that go.
 */

import type { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import type { Turnstile } from "./turnstile.ts";

/** The parts of an engine.io connection that are used here; its transport is always a WebSocket. */
export interface EngineConnection {
  readonly request: IncomingMessage;
  readonly writeBuffer: readonly { readonly data?: unknown }[];
  readonly transport: {
    readonly socket?: EventEmitter & { readonly bufferedAmount: number; terminate(): void };
  };
  close(): void;
  on(event: "close", listener: () => void): void;
}

/** How long a peer has to take the last words that it is sent. */
export const LAST_WORDS_MS = 1000;

/** Bytes that wait for the peer in this process: nothing else bounds them. */
export function unreadBytes({ transport, writeBuffer }: EngineConnection): number {
  let bytes = transport.socket?.bufferedAmount ?? 0;
  for (const { data } of writeBuffer) {
    if (typeof data === "string") bytes += 2 * data.length;
    else if (data instanceof Uint8Array) bytes += data.byteLength;
  }
  return bytes;
}

/** Ends a connection after what was sent last; a peer that does not read or answer ends as well. */
export function endConnection(connection: EngineConnection): void {
  connection.close();
  setTimeout(() => connection.transport.socket?.terminate(), LAST_WORDS_MS).unref();
}

/** The connection under a socket of Socket.IO. */
export function connectionOf(socket: { readonly conn: object }): EngineConnection {
  return socket.conn as EngineConnection;
}

/** Lets what follows from the end of its WebSocket wait its turn: hundreds may end in one. */
export function leaveThrough(turnstile: Turnstile, { transport }: EngineConnection): void {
  const { socket } = transport;
  if (!socket) return;
  const listeners = socket.listeners("close");
  socket.removeAllListeners("close");
  socket.once("close", (...reason: unknown[]) =>
    turnstile.pass(() => {
      for (const listener of listeners) listener.apply(socket, reason);
    }),
  );
}
