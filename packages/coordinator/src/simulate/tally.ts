/** The figures of a simulated run: bytes, computing, and how much of the swarm's power was used. */

import type { Clock } from "./clock.ts";
import type { SimulatedVolunteer } from "./volunteer.ts";

export interface Tally {
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Committed images a second, from the first lease to the last commit. */
  readonly imagesPerSecond: number;
  /** Committed work over what the volunteers that were there could have computed. */
  readonly efficiency: number;
  readonly stepsPerMinute: number;
  /** Computing over presence, by the devices' names. */
  readonly busy: Readonly<Record<string, number>>;
}

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

/** Opens the figures; they count from the first lease on. */
export function openTally(clock: Clock): OpenTally {
  const present = new Map<SimulatedVolunteer, { since: number; busyMs: number }>();
  const classes = new Map<string, { busyMs: number; presentMs: number }>();
  let startedAt: number | undefined;
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
    },
    result() {
      for (const volunteer of present.keys()) close(volunteer, endedAt);
      const seconds = Math.max(0.001, (endedAt - (startedAt ?? endedAt)) / 1000);
      return {
        ...{ bytesUp, bytesDown },
        imagesPerSecond: images / seconds,
        efficiency: capacity > 0 ? cost / capacity : 0,
        stepsPerMinute: (60 * steps) / seconds,
        busy: Object.fromEntries(
          [...classes].map(([name, { busyMs, presentMs }]) => [
            name,
            presentMs > 0 ? Math.min(1, busyMs / presentMs) : 0,
          ]),
        ),
      };
    },
  };
}
