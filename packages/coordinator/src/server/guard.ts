/**
 * The one wrapper around every handler of a socket: rate, shape, errors. A handler that throws, or
 * answers an acknowledgement that was not asked for, would end the process.
 */

import type { Socket } from "socket.io";
import type * as z from "zod";
import { openTokenBucket } from "./token-bucket.ts";

export interface GuardLimits {
  /** Messages a second, and at once. Chunks count too: full ones come to 100 MiB/s. */
  readonly perSecond: number;
  readonly burst: number;
  /** Messages without sense before the socket is closed. */
  readonly strikes: number;
}

export const GUARD_DEFAULTS: GuardLimits = { perSecond: 400, burst: 800, strikes: 5 };

export interface GuardTools {
  nowMs(): number;
  log(line: string): void;
}

type Acknowledge = (answer: unknown) => void;

export interface Guard {
  /** A message of one JSON object, checked by its schema. */
  on<S extends z.ZodType>(
    event: string,
    schema: S,
    handle: (message: z.infer<S>, acknowledge: Acknowledge) => void,
  ): void;
  /** The same with bytes as the second argument. */
  onBytes<S extends z.ZodType>(
    event: string,
    schema: S,
    maxBytes: number,
    handle: (message: z.infer<S>, bytes: Uint8Array, acknowledge: Acknowledge) => void,
  ): void;
  /** A message without content. */
  onSignal(event: string, handle: () => void): void;
}

const MALFORMED = {
  ok: false,
  code: "MALFORMED",
  message: "The message is not understood: reload the page.",
} as const;

/** Guards a socket. Whatever is not declared on the guard counts as nonsense. */
export function guardSocket(
  socket: Pick<Socket, "on" | "onAny" | "disconnect" | "id">,
  limits: GuardLimits,
  { nowMs, log }: GuardTools,
): Guard {
  const bucket = openTokenBucket(limits.perSecond, limits.burst);
  const known = new Set<string>();
  let strikes = 0;
  const strike = (why: string, acknowledge?: Acknowledge) => {
    acknowledge?.(MALFORMED);
    if (++strikes < limits.strikes) return;
    log(`closing socket ${socket.id}: ${strikes} messages without sense, the last ${why}`);
    socket.disconnect(true);
  };
  socket.on("error", (error: Error) => log(`socket ${socket.id}: ${error.message}`));
  socket.onAny((event: unknown) => {
    if (typeof event !== "string" || !known.has(event)) strike("of an unknown kind");
  });

  const listen = (
    event: string,
    handle: (args: readonly unknown[], acknowledge: Acknowledge) => void,
  ) => {
    known.add(event);
    socket.on(event, (...args: unknown[]) => {
      let acknowledge: Acknowledge = () => {};
      const last = args.at(-1);
      if (typeof last === "function") {
        args.pop();
        acknowledge = (answer) => last(answer);
      }
      try {
        if (!bucket.take(nowMs())) return strike(`"${event}" too often`, acknowledge);
        handle(args, acknowledge);
      } catch (error) {
        log(
          `handling "${event}" of socket ${socket.id} failed: ${error instanceof Error ? (error.stack ?? error.message) : error}`,
        );
        strike(`"${event}"`, acknowledge);
      }
    });
  };

  return {
    on(event, schema, handle) {
      listen(event, (args, acknowledge) => {
        const parsed = args.length === 1 ? schema.safeParse(args[0]) : undefined;
        if (!parsed?.success) return strike(`"${event}"`, acknowledge);
        handle(parsed.data, acknowledge);
      });
    },
    onBytes(event, schema, maxBytes, handle) {
      listen(event, (args, acknowledge) => {
        const [message, bytes] = args;
        const parsed = args.length === 2 ? schema.safeParse(message) : undefined;
        if (!parsed?.success || !(bytes instanceof Uint8Array) || bytes.byteLength > maxBytes)
          return strike(`"${event}"`, acknowledge);
        handle(parsed.data, bytes, acknowledge);
      });
    },
    onSignal(event, handle) {
      listen(event, (args, acknowledge) => {
        if (args.length !== 0) return strike(`"${event}"`, acknowledge);
        handle();
      });
    },
  };
}
