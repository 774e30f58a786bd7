/** Whether a swarm gets on: how long it may take for a step, and when it stands still. */

import type { Session } from "../core/session.ts";
import type { Clock } from "./clock.ts";
import type { DeviceModel } from "./device.ts";
import type { SwarmConfig } from "./swarm-config.ts";
import type { Weather } from "./weather.ts";

export interface LivenessContext {
  readonly config: SwarmConfig;
  readonly clock: Clock;
  readonly weather: Weather;
  commits(): number;
  /** Devices that can be given work. */
  fit(): readonly DeviceModel[];
  violate(what: string): void;
}

export interface Liveness {
  /** Virtual Unix milliseconds: a run that makes no step until then stands still. */
  readonly patientUntil: number;
  committed(): void;
  /** Checks after each event that the first whole step after the last fault is not late. */
  check(session: Session): void;
}

const PATIENCE_MS = 60 * 60_000;

/** Opens the watch; the first step may take as long as any. */
export function openLiveness(context: LivenessContext): Liveness {
  const { config, clock, weather, violate } = context;
  let lastCommitAt = clock.now;
  // After the last fault the open step must commit within one deadline plus twice the work left.
  let isBounded = false;
  let bound = 0;
  let mustCommitBy: number | undefined;

  return {
    get patientUntil() {
      return lastCommitAt + PATIENCE_MS;
    },
    committed() {
      lastCommitAt = clock.now;
      mustCommitBy = undefined;
    },
    check(session) {
      if (mustCommitBy !== undefined && clock.now > mustCommitBy) {
        violate(`the step after the last fault took longer than ${bound} ms`);
        mustCommitBy = undefined;
      }
      if (isBounded || !weather.isCalm) return;
      // While an evaluation is under way no step is open yet.
      if (session.state(clock.now).open?.kind !== "gradient") return;
      isBounded = true;
      const fit = context.fit();
      if (fit.length === 0) return;
      bound = config.session.leaseSeconds * 1000 + 2 * makespan(config, fit, context.commits());
      mustCommitBy = clock.now + bound;
    },
  };
}

/** What a step takes devices that start at once: the list schedule of its units, and the bytes. */
function makespan(config: SwarmConfig, fit: readonly DeviceModel[], step: number): number {
  const units = config.session.planner.planStep(step)?.units ?? [];
  const ends = fit.map(() => 0);
  for (const { samples, height, width } of units) {
    const cost = samples.length * height * width;
    let best = 0;
    fit.forEach((device, i) => {
      if (ends[i] + cost / device.speed < ends[best] + cost / fit[best].speed) best = i;
    });
    ends[best] += cost / fit[best].speed;
  }
  const { costs } = config;
  const shellMs = 2 * units.length * (costs.verifyMs + costs.addMs) + 2 * costs.commitMs;
  const messagesMs = Math.max(...fit.map((device) => 8 * (device.latencyMs + 40)));
  return Math.max(...ends) * 1.2 + shellMs + messagesMs;
}
