/** A simulated volunteer: computes what it is leased, at its speed, with the faults of its kind. */

import type { RefusalCode } from "@swarmvit/shared/frame";
import type { Hello, Lease, Refusal, Welcome } from "@swarmvit/shared/protocol";
import { PROTOCOL_VERSION } from "@swarmvit/shared/protocol";
import type { Chance, Clock } from "./simulator-clock.ts";
import { computeUnits, type Frame } from "./simulator-shell.ts";

/** Probabilities of what may go wrong with one lease, and of what a device is like. */
export interface Faults {
  /** The answer is never sent. */
  readonly lose: number;
  /** The answer is sent twice. */
  readonly duplicate: number;
  /** The answer comes a minute late. */
  readonly late: number;
  /** The frame is refused for this. */
  readonly spoil: number;
  readonly spoilCodes: readonly RefusalCode[];
  readonly abandon: number;
  /** The line drops, for a while. */
  readonly disconnect: number;
  /** The device is gone without a word. */
  readonly vanish: number;
  readonly leave: number;
  /** It pauses for a while. */
  readonly pause: number;
}

export const NO_FAULTS: Faults = {
  lose: 0,
  duplicate: 0,
  late: 0,
  spoil: 0,
  spoilCodes: ["CHECKSUM"],
  abandon: 0,
  disconnect: 0,
  vanish: 0,
  leave: 0,
  pause: 0,
};

/** What a volunteer can say to the coordinator; a line that is down says nothing. */
export interface Line {
  hello(hello: Hello, answer: (answer: Welcome | Refusal) => void): void;
  want(leases: number): void;
  abandon(lease: number, reason: "undecodable" | "error" | "out-of-memory", sample?: number): void;
  leave(): void;
  /** Offers and sends a whole frame; false if the offer is refused. */
  upload(lease: number, frame: Frame): void;
  close(): void;
}

export interface SimulatedVolunteer {
  connect(): void;
  /** The line went down from the other side. */
  dropped(): void;
  lease(lease: Lease): void;
  revoke(lease: number): void;
  readonly gone: boolean;
}

export function openVolunteer(
  clock: Clock,
  chance: Chance,
  speed: number,
  want: number,
  undecodable: ReadonlySet<number>,
  faults: () => Faults,
  openLine: (volunteer: SimulatedVolunteer) => Line | undefined,
): SimulatedVolunteer {
  let line: Line | undefined;
  let who: { id: string; secret: string } | undefined;
  let queue: Lease[] = [];
  const finished = new Map<number, Frame>();
  let busy = false;
  let gone = false;

  const work = () => {
    const lease = queue[0];
    if (busy || gone || !lease) return;
    busy = true;
    const pixels = lease.units.reduce((n, u) => n + u.samples.length * u.height * u.width, 0);
    clock.after((pixels / speed) * chance.between(0.9, 1.1), () => {
      busy = false;
      if (gone) return;
      if (queue[0] === lease) queue.shift();
      else queue = queue.filter((other) => other !== lease);
      answer(lease);
      work();
    });
  };
  const answer = (lease: Lease) => {
    const f = faults();
    if (chance.happens(f.vanish)) {
      gone = true;
      if (chance.happens(0.5)) line?.close();
      line = undefined;
      return;
    }
    if (chance.happens(f.leave)) {
      gone = true;
      line?.leave();
      line?.close();
      line = undefined;
      return;
    }
    if (chance.happens(f.pause)) {
      line?.want(0);
      clock.after(chance.between(100, 20_000), () => line?.want(want));
    }
    if (chance.happens(f.abandon)) {
      line?.abandon(lease.lease, chance.happens(0.5) ? "error" : "out-of-memory");
      return;
    }
    const bad =
      lease.kind === "gradient"
        ? lease.units.flatMap((unit) => [...unit.samples]).find((id) => undecodable.has(id))
        : undefined;
    if (bad !== undefined) {
      line?.abandon(lease.lease, "undecodable", bad);
      return;
    }
    if (chance.happens(f.disconnect)) {
      line?.close();
      line = undefined;
      clock.after(chance.between(10, 30_000), connect);
    }
    if (chance.happens(f.lose)) return;
    const [vector, report] = computeUnits(lease.units, lease.weights);
    const { level, index, kind, codec, step, samples, token } = lease;
    const frame: Frame = {
      id: { run: RUN_ID, kind, codec, step, level, index, samples, lease: lease.lease, token },
      vector,
      report,
      defect: chance.happens(f.spoil) ? f.spoilCodes[chance.below(f.spoilCodes.length)] : undefined,
    };
    finished.set(lease.lease, frame);
    const send = () => {
      if (!gone) line?.upload(lease.lease, frame);
    };
    clock.after(chance.between(1, 50) + (chance.happens(f.late) ? 60_000 : 0), send);
    if (chance.happens(f.duplicate)) clock.after(chance.between(1, 500), send);
  };
  const connect = () => {
    if (gone || line) return;
    line = openLine(volunteer);
    const opened = line;
    if (!opened) {
      clock.after(chance.between(500, 5000), connect);
      return;
    }
    const hello: Hello = {
      protocol: PROTOCOL_VERSION,
      build: "test",
      device: {
        executor: "wasm",
        description: "simulated",
        deterministic: true,
        software: false,
        platform: "test",
        memoryBytes: 0,
      },
      ...(who ? { resume: who } : {}),
    };
    opened.hello(hello, (welcome) => {
      if (line !== opened) return;
      if (!welcome.ok) {
        gone = welcome.code === "FINISHED" || welcome.code === "REMOVED";
        line = undefined;
        opened.close();
        return;
      }
      who = { id: welcome.volunteer.id, secret: welcome.volunteer.secret };
      opened.want(want);
    });
  };
  const volunteer: SimulatedVolunteer = {
    connect,
    dropped() {
      line = undefined;
      clock.after(chance.between(100, 3000), connect);
    },
    lease(lease) {
      const done = finished.get(lease.lease);
      if (done) {
        line?.upload(lease.lease, done); // sent again after a reconnect: it had been computed
        return;
      }
      if (queue.some((other) => other.lease === lease.lease)) return;
      queue.push(lease);
      work();
    },
    revoke(lease) {
      queue = queue.filter((other) => other.lease !== lease);
      finished.delete(lease);
    },
    get gone() {
      return gone;
    },
  };
  return volunteer;
}

export const RUN_ID = "00112233aabbccdd";
