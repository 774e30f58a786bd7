/**
 * The one wrapper around every handler of a socket: rate, arity, shape, errors. A handler that throws,
 * or answers an acknowledgement that was not asked for, would end the process.
 */

import type { AnyRefusal } from "@swarmvit/shared/refusals";
import type { Socket } from "socket.io";
import type * as z from "zod";
import { connectionOf, endConnection } from "./engine-connection.ts";
import type { Refusals } from "./refusals.ts";
import { openTokenBucket } from "./token-bucket.ts";

export interface GuardLimits {
  /** Messages a second, and at once. */
  readonly perSecond: number;
  readonly burst: number;
  /** Messages with bytes a second, and at once: full chunks come to 250 MiB/s. */
  readonly chunksPerSecond: number;
  readonly chunkBurst: number;
  /** Offers and chunks for leases that have ended, a second and at once: a few are on their way then. */
  readonly vainPerSecond: number;
  readonly vainBurst: number;
  /** Messages without sense before the socket is closed; one is forgiven a minute. */
  readonly strikes: number;
}

export const GUARD_DEFAULTS: GuardLimits = {
  perSecond: 100,
  burst: 400,
  chunksPerSecond: 1000,
  chunkBurst: 2000,
  vainPerSecond: 10,
  vainBurst: 200,
  strikes: 5,
};

export interface GuardTools {
  readonly refusals: Refusals;
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
  /** A message without content, answered when it was handled. */
  onSignal(event: string, handle: () => void): void;
  /** Refuses a message that only a wrong program or a stranger sends; too many close the socket. */
  strike(code: AnyRefusal, detail: string, acknowledge?: Acknowledge): void;
}

/** Guards a socket. Whatever is not declared on the guard counts as nonsense. */
export function guardSocket(socket: Socket, limits: GuardLimits, tools: GuardTools): Guard {
  const { refusals, nowMs, log } = tools;
  const messages = openTokenBucket(limits.perSecond, limits.burst);
  const chunks = openTokenBucket(limits.chunksPerSecond, limits.chunkBurst);
  const patience = openTokenBucket(1 / 60, limits.strikes - 1);
  const known = new Set<string>();
  let ended = false;
  const who = () => {
    const volunteer: unknown = socket.data.volunteer;
    return typeof volunteer === "string" ? `volunteer ${volunteer}` : `socket ${socket.id}`;
  };
  const strike = (code: AnyRefusal, detail: string, acknowledge?: Acknowledge) => {
    const refusal = refusals.refuse(code, who(), detail);
    acknowledge?.(refusal);
    if (patience.take(nowMs())) return;
    ended = true;
    endConnection(connectionOf(socket));
  };
  socket.on("error", () => {}); // the decoder has said why; without a listener it would be thrown
  socket.onAny((event: unknown) => {
    if (ended || (typeof event === "string" && known.has(event))) return;
    strike("MALFORMED", "a message of an unknown kind");
  });

  const listen = (
    event: string,
    handle: (args: readonly unknown[], acknowledge: Acknowledge) => void,
    bucket = messages,
  ) => {
    known.add(event);
    socket.on(event, (...args: unknown[]) => {
      if (ended) return;
      let acknowledge: Acknowledge = () => {};
      const last = args.at(-1);
      if (typeof last === "function") {
        args.pop();
        acknowledge = (answer) => last(answer);
      }
      try {
        if (!bucket.take(nowMs())) return strike("RATE", `"${event}"`, acknowledge);
        handle(args, acknowledge);
      } catch (error) {
        log(
          `handling "${event}" of ${who()} failed: ${error instanceof Error ? (error.stack ?? error.message) : error}`,
        );
        strike("MALFORMED", `"${event}"`, acknowledge);
      }
    });
  };

  return {
    strike,
    on(event, schema, handle) {
      listen(event, (args, acknowledge) => {
        const parsed = args.length === 1 ? schema.safeParse(args[0]) : undefined;
        if (!parsed?.success) return strike("MALFORMED", `"${event}"`, acknowledge);
        handle(parsed.data, acknowledge);
      });
    },
    onBytes(event, schema, maxBytes, handle) {
      const take = (args: readonly unknown[], acknowledge: Acknowledge) => {
        const [message, bytes] = args;
        const parsed = args.length === 2 ? schema.safeParse(message) : undefined;
        if (!parsed?.success || !(bytes instanceof Uint8Array) || bytes.byteLength > maxBytes)
          return strike("MALFORMED", `"${event}"`, acknowledge);
        handle(parsed.data, bytes, acknowledge);
      };
      listen(event, take, chunks);
    },
    onSignal(event, handle) {
      listen(event, (args, acknowledge) => {
        if (args.length !== 0) return strike("MALFORMED", `"${event}"`, acknowledge);
        handle();
        acknowledge(undefined);
      });
    },
  };
}
