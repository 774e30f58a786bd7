/** A simulated volunteer: computes what it is leased, at its speed, with the faults of its kind. */

import type { FrameId } from "@swarmvit/shared/frame";
import {
  type Abandon,
  type Credit,
  type Hello,
  type Lease,
  PROTOCOL_VERSION,
  type Refusal,
  type Welcome,
} from "@swarmvit/shared/protocol";
import type { Chance } from "./chance.ts";
import type { Clock } from "./clock.ts";
import type { Faults } from "./faults.ts";
import { type LinkSpeed, openPipe } from "./link.ts";
import { type Computed, computeNode, encodeTiny } from "./tiny-model.ts";
import type { Arithmetic } from "./vectors.ts";

/** A kind of device. */
export interface DeviceModel extends LinkSpeed {
  /** Shown in tables: its speed class. */
  readonly name: string;
  /** Pixels a millisecond. */
  readonly speed: number;
  /** A unit takes 1 ± this times what the speed says. */
  readonly jitter: number;
  readonly memoryBytes: number;
  /** Leases held at once. */
  readonly want: number;
  /** False: it may send what is worth nothing. */
  readonly honest: boolean;
}

/** What a volunteer can say; a line that is down says nothing. Messages arrive after the latency. */
export interface Line {
  hello(hello: Hello, answer: (answer: Welcome | Refusal) => void): void;
  want(leases: number): void;
  abandon(abandon: Abandon): void;
  offer(lease: number, bytes: number, answer: (answer: Credit | Refusal) => void): void;
  /** Bytes that arrive `afterMs` from now; `computeMs` is what a frame that is only counted would say. */
  chunk(lease: number, offset: number, bytes: Uint8Array, computeMs: number, afterMs: number): void;
  leave(): void;
  /** Closes it; the coordinator hears of it `afterMs` later. */
  close(afterMs: number): void;
  /** Weights by hash, or a delta from those that are held; undefined where there are none. */
  fetch(hash: string, held: string | undefined, got: (vector?: Float32Array) => void): void;
}

export interface SimulatedVolunteer {
  readonly device: DeviceModel;
  readonly gone: boolean;
  /** True while it can be given work and would do it. */
  readonly fit: boolean;
  /** Milliseconds of computing so far. */
  readonly busyMs: number;
  connect(): void;
  /** The line went down from the other side. */
  dropped(): void;
  lease(lease: Lease): void;
  /** The lease is revoked, or its contribution judged. */
  settled(lease: number): void;
  /** No reconnecting: the run or this device is finished. */
  dismissed(): void;
  /** The tab is closed. */
  quit(): void;
}

export interface VolunteerContext {
  readonly clock: Clock;
  readonly chance: Chance;
  readonly arithmetic: Arithmetic;
  readonly undecodable: ReadonlySet<number>;
  readonly runId: string;
  readonly chunkBytes: number;
  faults(): Faults;
  /** A fault began, and is felt until then. */
  faulted(untilMs: number): void;
  openLine(volunteer: SimulatedVolunteer): Line | undefined;
}

interface Held {
  readonly lease: Lease;
  /** Present once computed. */
  frame?: Uint8Array;
  computeMs: number;
}

/** The server notices a silent line after this. */
const HEARTBEAT_MS = 45_000;
const NO_BYTES = new Uint8Array(0);

export function openVolunteer(context: VolunteerContext, device: DeviceModel): SimulatedVolunteer {
  const { clock, chance, arithmetic } = context;
  const uplink = openPipe(clock, device.upBytesPerMs, 0);
  const held = new Map<number, Held>();
  const weights = new Map<string, Float32Array>();
  let line: Line | undefined;
  let who: { id: string; secret: string } | undefined;
  let computing: { at: Held; startedAt: number; unitMs: number } | undefined;
  let fetching: string | undefined;
  let newest: string | undefined;
  let paused = false;
  let gone = false;
  let frozenUntil = 0;
  let busyMs = 0;
  let lastFrame: Uint8Array | undefined;

  /** Puts off what happens while the device stands still; forgets it once it is gone. */
  const awake = (act: () => void): void => {
    if (gone) return;
    if (clock.now < frozenUntil) clock.after(frozenUntil - clock.now, () => awake(act));
    else act();
  };
  const later = (ms: number, act: () => void) => clock.after(ms, () => awake(act));

  const work = () => {
    if (computing || paused || gone) return;
    let next: Held | undefined;
    for (const at of held.values())
      if (!at.frame) {
        next = at;
        break;
      }
    if (!next) return;
    const { lease } = next;
    if (!weights.has(lease.weights)) {
      fetch(lease.weights);
      return;
    }
    const slow = happens("slow") ? chance.between(3, 30) : 1;
    let ms = 0;
    for (const { samples, height, width } of lease.units)
      ms +=
        ((samples.length * height * width) / device.speed) *
        (device.jitter > 0 ? 1 + device.jitter * (2 * chance.next() - 1) : 1);
    ms *= slow;
    if (slow > 1) context.faulted(clock.now + ms);
    const task = { at: next, startedAt: clock.now, unitMs: ms / lease.units.length };
    computing = task;
    later(ms, () => {
      if (computing !== task) return;
      computing = undefined;
      busyMs += ms;
      task.at.computeMs = ms;
      finish(task.at);
      work();
    });
  };

  const fetch = (hash: string) => {
    if (fetching === hash || !line) return;
    fetching = hash;
    const asked = line;
    line.fetch(hash, newest, (vector) =>
      awake(() => {
        if (asked !== line) return;
        fetching = undefined;
        if (!vector) {
          // A coordinator that has started again does not have them (yet).
          for (const { lease } of held.values())
            if (lease.weights === hash) {
              context.faulted(clock.now);
              held.delete(lease.lease);
              line?.abandon({ lease: lease.lease, reason: "weights" });
            }
          work();
          return;
        }
        newest = hash;
        weights.set(hash, vector);
        for (const old of weights.keys()) {
          if (weights.size <= 2) break;
          weights.delete(old);
        }
        work();
      }),
    );
  };

  const happens = (fault: keyof Faults) => chance.happens(context.faults()[fault]);

  const finish = (at: Held) => {
    const { lease } = at;
    if (!held.has(lease.lease)) return;
    if (happens("vanish")) {
      quit(chance.happens(0.5) ? 0 : HEARTBEAT_MS);
      return;
    }
    if (happens("leave")) {
      context.faulted(clock.now);
      line?.leave();
      quit(0);
      return;
    }
    if (happens("freeze")) {
      const ms = chance.between(1000, 90_000);
      frozenUntil = clock.now + ms;
      context.faulted(frozenUntil);
      const frozen = line;
      if (ms > HEARTBEAT_MS)
        clock.after(HEARTBEAT_MS, () => {
          if (frozen && frozen === line) disconnect(frozenUntil - clock.now);
        });
    }
    awake(() => answer(at));
  };

  const answer = (at: Held) => {
    const { lease } = at;
    if (!held.has(lease.lease)) return;
    if (happens("pause")) pause(chance.between(100, 20_000));
    if (happens("abandon")) {
      context.faulted(clock.now);
      held.delete(lease.lease);
      const reason = chance.happens(0.5) ? "error" : "out-of-memory";
      line?.abandon({ lease: lease.lease, reason });
      return;
    }
    if (context.undecodable.size > 0 && lease.kind === "gradient") {
      const bad = lease.units.flatMap(({ samples }) => [...samples]);
      const sample = bad.find((id) => context.undecodable.has(id));
      if (sample !== undefined) {
        context.faulted(clock.now);
        held.delete(lease.lease);
        line?.abandon({ lease: lease.lease, reason: "undecodable", sample });
        return;
      }
    }
    if (happens("dropBefore")) disconnect(chance.between(10, 30_000));
    if (happens("lose")) {
      context.faulted(clock.now);
      held.delete(lease.lease);
      return;
    }
    at.frame = arithmetic === "tiny" ? frameOf(lease, at.computeMs) : NO_BYTES;
    if (happens("late")) {
      context.faulted(clock.now + 60_000);
      later(60_000, () => send(at));
      return;
    }
    send(at);
    if (happens("duplicate")) later(chance.between(1, 500), () => send(at));
  };

  const frameOf = (lease: Lease, computeMs: number): Uint8Array => {
    const vector = weights.get(lease.weights);
    if (!vector) return NO_BYTES; // its step was over before it had the weights
    const computed: Computed = computeNode(lease.units, lease.level, vector);
    if (!device.honest) spoil(computed);
    const id: FrameId = { ...lease, run: context.runId };
    const frame = encodeTiny(id, { ...computed, report: { ...computed.report, computeMs } });
    const before = lastFrame;
    lastFrame = frame;
    if (!device.honest && before && happens("replay")) {
      context.faulted(clock.now);
      return before;
    }
    return frame;
  };
  const spoil = ({ gradient }: Computed) => {
    if (happens("nan")) {
      context.faulted(clock.now);
      gradient[chance.below(gradient.length)] = [Number.NaN, Number.POSITIVE_INFINITY][
        chance.below(2)
      ];
    } else if (happens("zero")) {
      context.faulted(clock.now);
      gradient.fill(0);
    }
  };

  const send = (at: Held) => {
    const { lease, bytes } = at.lease;
    const to = line;
    if (!to || !held.has(lease)) return;
    to.offer(lease, bytes, (credit) =>
      awake(() => {
        if (to !== line || !held.has(lease)) return;
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
    if (frame.length > 0 && happens("corrupt")) {
      context.faulted(clock.now);
      frame = frame.slice();
      frame[chance.below(frame.length)] ^= 1 << chance.below(8);
    }
    const dropsAfter = happens("dropDuring") ? chance.below(4) : Number.POSITIVE_INFINITY;
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
    if (happens("dropAfter")) disconnect(chance.between(10, 30_000));
  };

  const disconnect = (awayMs: number) => {
    if (!line) return;
    context.faulted(clock.now + awayMs);
    line.close(0);
    line = undefined;
    fetching = undefined;
    later(awayMs, connect);
  };
  const pause = (ms: number) => {
    context.faulted(clock.now + ms);
    paused = true;
    for (const lease of held.keys()) settled(lease);
    line?.want(0);
    later(ms, () => {
      paused = false;
      line?.want(device.want);
    });
  };
  const quit = (noticedMs: number) => {
    context.faulted(clock.now + noticedMs);
    gone = true;
    line?.close(noticedMs);
    line = undefined;
  };
  const settled = (lease: number) => {
    const at = held.get(lease);
    if (!at) return;
    held.delete(lease);
    if (computing?.at !== at) return;
    // Stops where the unit that it is at ends.
    const { startedAt, unitMs } = computing;
    const endsAt = startedAt + Math.ceil((clock.now - startedAt) / unitMs) * unitMs;
    busyMs += endsAt - startedAt;
    const stopping = { at, startedAt: endsAt, unitMs };
    computing = stopping;
    later(endsAt - clock.now, () => {
      if (computing !== stopping) return;
      computing = undefined;
      work();
    });
  };

  const connect = () => {
    if (gone || line) return;
    line = context.openLine(volunteer);
    const opened = line;
    if (!opened) {
      later(chance.between(500, 5000), connect);
      return;
    }
    const hello: Hello = {
      protocol: PROTOCOL_VERSION,
      build: "simulated",
      device: {
        executor: "wasm",
        description: device.name,
        deterministic: true,
        software: false,
        platform: "simulated",
        memoryBytes: device.memoryBytes,
      },
      ...(who ? { resume: who } : {}),
    };
    opened.hello(hello, (welcome) =>
      awake(() => {
        if (line !== opened) return;
        if (!welcome.ok) {
          gone = welcome.code === "FINISHED" || welcome.code === "REMOVED";
          line = undefined;
          opened.close(0);
          if (!gone) later(5000, connect);
          return;
        }
        const { id, secret } = welcome.volunteer;
        if (who && who.id !== id) held.clear();
        who = { id, secret };
        opened.want(paused ? 0 : device.want);
        for (const at of held.values()) if (at.frame) send(at);
        work();
      }),
    );
  };

  const volunteer: SimulatedVolunteer = {
    device,
    get gone() {
      return gone;
    },
    get fit() {
      return (
        !gone && line !== undefined && who !== undefined && !paused && clock.now >= frozenUntil
      );
    },
    get busyMs() {
      return busyMs;
    },
    connect,
    dropped() {
      line = undefined;
      fetching = undefined;
      later(chance.between(100, 3000), connect);
    },
    lease: (lease) =>
      awake(() => {
        const at = held.get(lease.lease);
        if (at) {
          if (at.frame) send(at); // told again after a reconnect: it had been computed
          return;
        }
        if (paused) {
          line?.abandon({ lease: lease.lease, reason: "paused" });
          return;
        }
        held.set(lease.lease, { lease, computeMs: 0 });
        if (!weights.has(lease.weights)) fetch(lease.weights);
        work();
      }),
    settled: (lease) => awake(() => settled(lease)),
    dismissed() {
      gone = true;
      line = undefined;
    },
    quit: () => quit(0),
  };
  return volunteer;
}
