/** Swarms as people have them: how would my run go with this many volunteers of this mix? */

import { encodedGradientBytes } from "@swarmvit/shared/codec";
import { frameBytes } from "@swarmvit/shared/frame";
import { type SizeTuple, sizeTable } from "@swarmvit/shared/multiscale";
import { parameterTable } from "@swarmvit/shared/parameters";
import { openPlanner } from "@swarmvit/shared/planner";
import { CHECKPOINT_EVERY } from "../core/options.ts";
import type { DeviceModel } from "./device.ts";
import { NO_FAULTS } from "./faults.ts";
import { megabits } from "./link.ts";
import type { SwarmConfig } from "./swarm-config.ts";
import { RUN_ID } from "./tiny-run.ts";

export interface Scenario {
  readonly upMegabits: number;
  readonly downMegabits: number;
  readonly latencyMs: number;
  /** What a unit takes at speed 1. */
  readonly unitMs: number;
  /** Between opening the link and the first word. */
  readonly joinMs: number;
}

export const SCENARIOS = {
  lan: { upMegabits: 100, downMegabits: 100, latencyMs: 5, unitMs: 250, joinMs: 3000 },
  home: { upMegabits: 10, downMegabits: 50, latencyMs: 50, unitMs: 1000, joinMs: 3000 },
} as const satisfies Record<string, Scenario>;

export type ScenarioName = keyof typeof SCENARIOS;

export interface ScenarioOptions {
  readonly scenario: ScenarioName;
  readonly workers: number;
  readonly steps: number;
  /** Share of the volunteers replaced each minute. */
  readonly churn: number;
  readonly seed: number;
  /** Speeds of the volunteers, in turn; 1 is the scenario's unit time. */
  readonly speeds: readonly number[];
  /** Units of a step; 8 a volunteer unless told. */
  readonly units?: number;
  readonly classes: number;
  /** Everybody computes as many units, to compare with. */
  readonly split?: "equal";
}

/** The most that a synchronous step allows on these lines: whoever computed last sends, and all fetch. */
export interface Bound {
  /** What the step's units take the whole swarm, and one contribution up, one delta down, and the words between. */
  readonly computeMs: number;
  readonly upMs: number;
  readonly downMs: number;
  readonly latencyMs: number;
  /** Computing over the whole step. */
  readonly efficiency: number;
  readonly stepsPerMinute: number;
}

const UNITS_A_VOLUNTEER = 8;
/** Frame, lease, request, weights: each crosses the line once. */
const CROSSINGS = 4;
/** A unit holds this many images of 256x256, or fewer larger ones. */
const UNIT_SIZE = 8;
const VARIANT = "xxs";
/** Times that the coordinator's own work takes on XXS, as `bench/costs.ts` measures them. */
const COSTS = { verifyMs: 0.5, addMs: 0.8, commitMs: 23, checkpointMs: 56 };
/** The decimals of a unit's time that differ from unit to unit on one device. */
const JITTER = 0.02;

/** The swarm that the options describe, counted and not computed. */
export function scenarioSwarm(options: ScenarioOptions): SwarmConfig {
  const { scenario, workers, steps, seed, speeds, churn, classes } = options;
  const { upMegabits, downMegabits, latencyMs, unitMs, joinMs } = SCENARIOS[scenario];
  const unitCount = options.units ?? UNITS_A_VOLUNTEER * workers;
  const sizes = sizesOf();
  const unitPixels =
    sizes.reduce((sum, { height, width, batch }) => sum + height * width * batch, 0) / sizes.length;
  const devices = Array.from({ length: workers }, (_, i): DeviceModel => {
    const speed = speeds[i % speeds.length];
    return {
      name: `×${speed}`,
      speed: (speed * unitPixels) / unitMs,
      ...{ want: 2, jitter: JITTER, memoryBytes: 0, honest: true, latencyMs },
      upBytesPerMs: megabits(upMegabits),
      downBytesPerMs: megabits(downMegabits),
    };
  });
  const largest = Math.max(...sizes.map(({ batch }) => batch));
  const perShard = 512;
  const shards = Array.from(
    { length: Math.ceil((unitCount * largest * (steps + 1)) / perShard) },
    (_, i) => ({ first: i * perShard, count: perShard, sha256: `shard-${i}`, bytes: 1 }),
  );
  const planner = openPlanner({ seed, unitCount, sizes, oneSize: false, shards, epochs: 1 });
  const table = parameterTable(VARIANT, classes);
  const contribution = frameBytes("gradient", "int8", table);
  const delta = encodedGradientBytes("int8", table);
  return {
    ...{ seed, devices, unitCount, churn, joinMs, costs: COSTS },
    ...{ arithmetic: "counted", codec: "int8", faults: NO_FAULTS, faultsUntilStep: 0 },
    session: {
      run: {
        ...{ id: RUN_ID, name: "simulated", model: "mobilevit_xxs", variant: VARIANT },
        ...{ classes: [], dataset: "simulated", samples: planner.epochSamples, codec: "int8" },
        ...{ smoothing: 0.1, dropout: 0, headDropout: 0, parameterCount: table.parameterCount },
        augment: { cropScale: [0.5, 1], cropRatio: [0.75, 1.33], flip: true, evalResize: 1 },
        sizes,
      },
      ...{ planner, split: options.split, checkpointEvery: CHECKPOINT_EVERY },
      schedule: {
        ...{ lr: 0.002, minLr: 0.00002, warmupLr: 0.0001, warmupSamples: 20 },
        ...{ totalSamples: planner.totalSamples, granularity: "sample" },
        epochSamples: planner.epochSamples,
      },
      ...{ epochs: 1, minWorkers: 1, leaseSeconds: 30, maxSteps: steps, shards, config: {} },
      validation: { shards: [], height: 256, width: 256, unitSamples: 8 },
      frameBytes: () => contribution,
    },
    chunkBytes: Number.MAX_SAFE_INTEGER,
    weightsBytes: 4 * table.parameterCount,
    deltaBytes: delta,
  };
}

/** What no assignment of a scenario's units could surpass, as long as nobody comes or goes. */
export function boundOf(options: ScenarioOptions): Bound {
  const { workers, speeds, classes } = options;
  const { upMegabits, downMegabits, latencyMs: oneWayMs, unitMs } = SCENARIOS[options.scenario];
  const units = options.units ?? UNITS_A_VOLUNTEER * workers;
  let power = 0;
  for (let i = 0; i < workers; i++) power += speeds[i % speeds.length];
  const table = parameterTable(VARIANT, classes);
  const computeMs = (units * unitMs) / power;
  const upMs = frameBytes("gradient", "int8", table) / megabits(upMegabits);
  const downMs = encodedGradientBytes("int8", table) / megabits(downMegabits);
  const latencyMs = CROSSINGS * oneWayMs;
  const stepMs = computeMs + upMs + downMs + latencyMs;
  const efficiency = computeMs / stepMs;
  return {
    ...{ computeMs, upMs, downMs, latencyMs },
    ...{ efficiency, stepsPerMinute: 60_000 / stepMs },
  };
}

function sizesOf(): SizeTuple[] {
  return sizeTable({
    ...{ baseHeight: 256, baseWidth: 256, unitSize: UNIT_SIZE, count: 5, divisor: 32 },
    ...{ minHeight: 160, maxHeight: 320, minWidth: 160, maxWidth: 320, semantics: "formula" },
  });
}
