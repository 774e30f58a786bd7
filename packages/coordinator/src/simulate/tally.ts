/** The figures of a simulated run: bytes, computing, and how much of the swarm's power was used. */

import type { Clock } from "./clock.ts";
import type { SimulatedVolunteer } from "./volunteer.ts";

/** How much of the swarm's power was used, and how fast that was. */
export interface Yield {
  /** Committed work over what the volunteers that were there could have computed. */
  readonly efficiency: number;
  readonly stepsPerMinute: number;
  /** Computing over presence, by the devices' names. */
  readonly busy: Readonly<Record<string, number>>;
}

/** From the first lease to the last commit. */
export interface Tally extends Yield {
  /** The same without the first steps, in which everybody is measured; absent of a run that has no more. */
  readonly steady?: Yield;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Committed images a second. */
  readonly imagesPerSecond: number;
}

/** The first one measures everybody; in the second one newcomers still fetch all of the weights. */
const LEARNING_STEPS = 2;

export interface OpenTally {
  up(bytes: number): void;
  down(bytes: number): void;
  joined(volunteer: SimulatedVolunteer): void;
  left(volunteer: SimulatedVolunteer): void;
  leased(): void;
  /** Images of a step, and their pixels. */
  committed(images: number, cost: number): void;
  result(): Tally;
}

interface ClassTime {
  busyMs: number;
  presentMs: number;
}

interface Snapshot {
  readonly at: number;
  readonly steps: number;
  readonly cost: number;
  readonly capacity: number;
  readonly classes: ReadonlyMap<string, ClassTime>;
}

/** Opens the figures; they count from the first lease on. */
export function openTally(clock: Clock): OpenTally {
  const present = new Map<SimulatedVolunteer, { since: number; busyMs: number }>();
  const classes = new Map<string, ClassTime>();
  let startedAt: number | undefined;
  let learnt: Snapshot | undefined;
  let endedAt = 0;
  let [bytesUp, bytesDown, images, cost, steps] = [0, 0, 0, 0, 0];
  /** Pixels that could have been computed by those who are gone. */
  let capacity = 0;

  const close = (volunteer: SimulatedVolunteer, until: number) => {
    const at = present.get(volunteer);
    if (!at || startedAt === undefined) return;
    const ms = Math.max(0, until - Math.max(at.since, startedAt));
    capacity += ms * volunteer.device.speed;
    const { name } = volunteer.device;
    const of = classes.get(name) ?? { busyMs: 0, presentMs: 0 };
    of.busyMs += volunteer.busyMs - at.busyMs;
    of.presentMs += ms;
    classes.set(name, of);
    at.since = until;
    at.busyMs = volunteer.busyMs;
  };

  const snapshot = (): Snapshot => {
    for (const volunteer of present.keys()) close(volunteer, endedAt);
    const copies = [...classes].map(([name, of]) => [name, { ...of }] as const);
    return { at: endedAt, steps, cost, capacity, classes: new Map(copies) };
  };
  const yieldOf = (to: Snapshot, from?: Snapshot): Yield => {
    const ms = Math.max(1, to.at - (from?.at ?? startedAt ?? to.at));
    const could = to.capacity - (from?.capacity ?? 0);
    const busyOf = (name: string, of: ClassTime) => {
      const before = from?.classes.get(name);
      const presentMs = of.presentMs - (before?.presentMs ?? 0);
      return presentMs > 0 ? Math.min(1, (of.busyMs - (before?.busyMs ?? 0)) / presentMs) : 0;
    };
    return {
      efficiency: could > 0 ? (to.cost - (from?.cost ?? 0)) / could : 0,
      stepsPerMinute: (60_000 * (to.steps - (from?.steps ?? 0))) / ms,
      busy: Object.fromEntries([...to.classes].map(([name, of]) => [name, busyOf(name, of)])),
    };
  };

  return {
    up(bytes) {
      bytesUp += bytes;
    },
    down(bytes) {
      bytesDown += bytes;
    },
    joined: (volunteer) => {
      present.set(volunteer, { since: clock.now, busyMs: 0 });
    },
    left(volunteer) {
      close(volunteer, clock.now);
      present.delete(volunteer);
    },
    leased() {
      startedAt ??= clock.now;
    },
    committed(of, pixels) {
      images += of;
      cost += pixels;
      steps++;
      endedAt = clock.now;
      if (steps === LEARNING_STEPS) learnt = snapshot();
    },
    result() {
      const now = snapshot();
      const all = yieldOf(now);
      const seconds = Math.max(0.001, (now.at - (startedAt ?? now.at)) / 1000);
      return {
        ...{ bytesUp, bytesDown, imagesPerSecond: images / seconds, ...all },
        steady: learnt && now.steps > learnt.steps ? yieldOf(now, learnt) : undefined,
      };
    },
  };
}
