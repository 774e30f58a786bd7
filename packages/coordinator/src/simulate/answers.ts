/**
 * What a simulated volunteer does with what it has computed: the way of an answer from the last unit
 * to the last byte, and all that may go wrong on it.
 */

import type { FrameId } from "@swarmvit/shared/frame";
import type { Lease } from "@swarmvit/shared/protocol";
import { HEARTBEAT_MS, type Line } from "./line.ts";
import { openPipe } from "./link.ts";
import { type Computed, computeNode, encodeTiny } from "./tiny-model.ts";
import type { VolunteerContext } from "./volunteer.ts";

/** A lease that a volunteer is at, or has answered without having heard a verdict. */
export interface Held {
  readonly lease: Lease;
  /** Present once computed. */
  frame?: Uint8Array;
  computeMs: number;
}

/** The volunteer that answers, and what a fault may do to it. */
export interface AnswersContext extends VolunteerContext {
  /** By the lease's number. */
  readonly held: Map<number, Held>;
  /** The vectors that it has, by hash. */
  readonly weights: ReadonlyMap<string, Float32Array>;
  line(): Line | undefined;
  /** Acts once the device does not stand still. */
  awake(act: () => void): void;
  later(ms: number, act: () => void): void;
  settled(lease: number): void;
  disconnect(awayMs: number): void;
  pause(ms: number): void;
  freeze(ms: number): void;
  /** Is gone for good; the coordinator hears of it `noticedMs` later. */
  quit(noticedMs: number): void;
}

export interface Answers {
  /** A lease is computed. */
  computed(at: Held): void;
  /** Offers an answer, and sends what the coordinator has not got of it. */
  send(at: Held): void;
}

const NO_BYTES = new Uint8Array(0);

/** Opens the answers of a volunteer; they share one uplink. */
export function openAnswers(context: AnswersContext): Answers {
  const { clock, chance, weather, arithmetic, device, held, weights } = context;
  const { awake, later, settled, disconnect, pause, freeze, quit } = context;
  const uplink = openPipe(clock, device.upBytesPerMs, 0);
  let lastFrame: Uint8Array | undefined;

  const computed = (at: Held) => {
    const { lease } = at;
    if (!held.has(lease.lease)) return;
    if (weather.happens("vanish")) {
      quit(chance.happens(0.5) ? 0 : HEARTBEAT_MS);
      return;
    }
    if (weather.happens("leave")) {
      weather.faulted(clock.now);
      context.line()?.leave();
      quit(0);
      return;
    }
    if (weather.happens("freeze")) freeze(chance.between(1000, 90_000));
    awake(() => answer(at));
  };

  const answer = (at: Held) => {
    const { lease } = at;
    if (!held.has(lease.lease)) return;
    if (weather.happens("pause")) pause(chance.between(100, 20_000));
    if (weather.happens("abandon")) {
      weather.faulted(clock.now);
      held.delete(lease.lease);
      const reason = chance.happens(0.5) ? "error" : "out-of-memory";
      context.line()?.abandon({ lease: lease.lease, reason });
      return;
    }
    if (context.undecodable.size > 0 && lease.kind === "gradient") {
      const bad = lease.units.flatMap(({ samples }) => [...samples]);
      const sample = bad.find((id) => context.undecodable.has(id));
      if (sample !== undefined) {
        weather.faulted(clock.now);
        held.delete(lease.lease);
        context.line()?.abandon({ lease: lease.lease, reason: "undecodable", sample });
        return;
      }
    }
    if (weather.happens("dropBefore")) disconnect(chance.between(10, 30_000));
    if (weather.happens("lose")) {
      weather.faulted(clock.now);
      held.delete(lease.lease);
      return;
    }
    at.frame = arithmetic === "tiny" ? frameOf(lease, at.computeMs) : NO_BYTES;
    if (weather.happens("late")) {
      weather.faulted(clock.now + 60_000);
      later(60_000, () => send(at));
      return;
    }
    send(at);
    if (weather.happens("duplicate")) later(chance.between(1, 500), () => send(at));
  };

  const frameOf = (lease: Lease, computeMs: number): Uint8Array => {
    const vector = weights.get(lease.weights);
    if (!vector) return NO_BYTES; // its step was over before it had the weights
    const sum: Computed = computeNode(lease.units, lease.level, vector);
    if (!device.honest) spoil(sum);
    const id: FrameId = { ...lease, run: context.runId };
    const frame = encodeTiny(id, { ...sum, report: { ...sum.report, computeMs } });
    const before = lastFrame;
    lastFrame = frame;
    if (!device.honest && before && weather.happens("replay")) {
      weather.faulted(clock.now);
      return before;
    }
    return frame;
  };
  const spoil = ({ gradient }: Computed) => {
    if (weather.happens("nan")) {
      weather.faulted(clock.now);
      gradient[chance.below(gradient.length)] = [Number.NaN, Number.POSITIVE_INFINITY][
        chance.below(2)
      ];
    } else if (weather.happens("zero")) {
      weather.faulted(clock.now);
      gradient.fill(0);
    }
  };

  const send = (at: Held) => {
    const { lease, bytes } = at.lease;
    const to = context.line();
    if (!to || !held.has(lease)) return;
    to.offer(lease, bytes, (credit) =>
      awake(() => {
        if (to !== context.line() || !held.has(lease)) return;
        if (!credit.ok) {
          if (credit.code === "BUSY") later(1000, () => send(at));
          else settled(lease);
          return;
        }
        sendFrom(at, credit.offset, to);
      }),
    );
  };
  const sendFrom = (at: Held, offset: number, to: Line) => {
    const { lease, bytes } = at.lease;
    let frame = at.frame ?? NO_BYTES;
    if (frame.length > 0 && weather.happens("corrupt")) {
      weather.faulted(clock.now);
      frame = frame.slice();
      frame[chance.below(frame.length)] ^= 1 << chance.below(8);
    }
    const dropsAfter = weather.happens("dropDuring") ? chance.below(4) : Number.POSITIVE_INFINITY;
    let sent = 0;
    for (let from = offset; from < bytes; from += context.chunkBytes) {
      if (sent++ >= dropsAfter) {
        disconnect(chance.between(10, 30_000));
        return;
      }
      const end = Math.min(bytes, from + context.chunkBytes);
      const delay = uplink.send(end - from);
      to.chunk(lease, from, frame.subarray(from, end), at.computeMs, delay);
    }
    if (weather.happens("dropAfter")) disconnect(chance.between(10, 30_000));
  };

  return { computed, send };
}
