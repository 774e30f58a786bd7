/** Swarms in which everything may go wrong, one for each seed. */

import { CODECS, type Codec } from "@swarmvit/shared/codec";
import { frameBytes } from "@swarmvit/shared/frame";
import { openChance } from "./chance.ts";
import type { DeviceModel } from "./device.ts";
import { type Faults, NO_FAULTS } from "./faults.ts";
import type { SwarmConfig } from "./swarm-config.ts";
import { TINY_TABLE } from "./tiny-model.ts";
import { referenceRun, tinySession } from "./tiny-run.ts";

const EPOCHS = 60;
const MOST_UNITS = 9;
const SPEEDS = [5, 10, 20, 40];

/** Sessions and their weights by the units of a step: they are the same for every seed. */
const sessions = new Map<string, ReturnType<typeof openWildSession>>();

function openWildSession(units: number, steps: number, codec: Codec) {
  const tiny = tinySession(units, EPOCHS, (kind) => frameBytes(kind, codec, TINY_TABLE));
  const session = { ...tiny, run: { ...tiny.run, codec } };
  const reference = referenceRun(session.planner, session.schedule, units, steps);
  return { session, reference };
}

/** The swarm of a seed: a few volunteers of mixed speeds and honesty, and a mix of faults. */
export function wildSwarm(seed: number, steps: number): SwarmConfig {
  const chance = openChance(seed ^ 0x5eed);
  const unitCount = 1 + chance.below(MOST_UNITS);
  const codec = CODECS[Math.max(0, chance.below(9) - 6)];
  const key = `${unitCount} ${steps} ${codec}`;
  const shared = sessions.get(key) ?? openWildSession(unitCount, steps, codec);
  sessions.set(key, shared);
  const speeds = SPEEDS.slice(chance.below(SPEEDS.length));
  const want = 1 + chance.below(3);
  const count = 1 + chance.below(7);
  const hostile = chance.happens(0.3) ? 1 + chance.below(2) : 0;
  const devices = Array.from({ length: count + hostile }, (_, i): DeviceModel => {
    const speed = speeds[i % speeds.length];
    return {
      name: `${speed} px/ms`,
      ...{ speed, want, jitter: 0.1, memoryBytes: 0, honest: i < count },
      ...{ upBytesPerMs: 20, downBytesPerMs: 100, latencyMs: 1 },
    };
  });
  const faults = wildFaults(chance.below, chance.happens, chance.between);
  // One: a unit of which no sample can be decoded ends a run.
  const undecodable = chance.happens(0.1) ? new Set([chance.below(103)]) : undefined;
  const { session, reference } = shared;
  return {
    ...{ seed, devices, arithmetic: "tiny", codec, unitCount, joinMs: 0, churn: 0 },
    costs: { verifyMs: 5, addMs: 5, commitMs: 10, checkpointMs: 20 },
    session: { ...session, maxSteps: steps, evalEvery: Math.ceil(steps / 2) },
    ...{ faults, faultsUntilStep: Math.floor(0.95 * steps), undecodable },
    uploadBudget: 4 * frameBytes("gradient", codec, TINY_TABLE),
    ...{ chunkBytes: 64, weightsBytes: 36, deltaBytes: 9 },
    // A struck sample changes what is trained on, and a lossy codec how sums are rounded.
    reference: undecodable || codec !== "f32" ? undefined : (commits) => reference[commits],
  };
}

function wildFaults(
  below: (n: number) => number,
  happens: (probability: number) => boolean,
  between: (low: number, high: number) => number,
): Faults {
  const rare = (most: number) => (happens(0.4) ? between(0, most) : 0);
  // Some seeds are nearly calm, so that each fault is also met alone.
  const scale = [0.2, 1, 1][below(3)];
  const faults: Record<keyof Faults, number> = { ...NO_FAULTS };
  for (const fault of Object.keys(NO_FAULTS) as (keyof Faults)[]) faults[fault] = rare(0.1 * scale);
  faults.vanish /= 2;
  faults.leave /= 2;
  faults.freeze /= 4;
  faults.late /= 4;
  faults.pause /= 2;
  faults.nan /= 4;
  faults.crashEveryMs = happens(0.4) ? between(10_000, 100_000) : 0;
  faults.diskFullEveryMs = happens(0.2) ? between(50_000, 200_000) : 0;
  return faults;
}
