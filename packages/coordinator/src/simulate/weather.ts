/** What goes wrong in a swarm over time, and until when it is felt. */

import type { Chance } from "./chance.ts";
import type { Clock } from "./clock.ts";
import { type Faults, NO_FAULTS } from "./faults.ts";

export interface WeatherContext {
  readonly clock: Clock;
  readonly chance: Chance;
  readonly faults: Faults;
  /** From this step on nothing goes wrong any more. */
  readonly faultsUntilStep: number;
  commits(): number;
  /** Ends the coordinator, which starts again later; false where none is up. */
  crash(): boolean;
}

export interface Weather {
  /** True as long as something may go wrong. */
  readonly isRough: boolean;
  /** True once the last fault is no longer felt. */
  readonly isCalm: boolean;
  readonly isDiskFull: boolean;
  /** True where chance has a volunteer or a message suffer this. */
  happens(fault: keyof Faults): boolean;
  /** A fault began, and is felt until then. */
  faulted(untilMs: number): void;
  /** Begins what befalls the coordinator. */
  begin(): void;
}

/** The core tries again after this what the disk refused. */
const DISK_RETRY_MS = 3000;

/** Opens the weather; what befalls the coordinator has yet to begin. */
export function openWeather(context: WeatherContext): Weather {
  const { clock, chance } = context;
  const isRough = () => context.commits() < context.faultsUntilStep;
  let feltUntil = clock.now;
  let diskFullUntil = 0;

  const faulted = (untilMs: number) => {
    feltUntil = Math.max(feltUntil, untilMs);
  };
  /** Acts again and again while it is rough, this long apart on average, until an act says no. */
  const recur = (meanMs: number, act: () => boolean): void =>
    clock.after(chance.between(0.2, 1.8) * meanMs, () => {
      if (isRough() && act()) recur(meanMs, act);
    });
  const fillDisk = () => {
    diskFullUntil = clock.now + chance.between(1000, 30_000);
    faulted(diskFullUntil + DISK_RETRY_MS);
    return true;
  };

  return {
    get isRough() {
      return isRough();
    },
    get isCalm() {
      return !isRough() && clock.now > feltUntil;
    },
    get isDiskFull() {
      return clock.now < diskFullUntil;
    },
    happens: (fault) => chance.happens((isRough() ? context.faults : NO_FAULTS)[fault]),
    faulted,
    begin() {
      const { crashEveryMs, diskFullEveryMs } = context.faults;
      if (crashEveryMs > 0) recur(crashEveryMs, context.crash);
      if (diskFullEveryMs > 0) recur(diskFullEveryMs, fillDisk);
    },
  };
}
