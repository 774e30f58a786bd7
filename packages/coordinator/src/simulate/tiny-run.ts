/** Runs of the tiny model: 103 samples an epoch in three shards, three sizes, from a seed. */

import { openPlanner, type PlanConfig, type Planner } from "@swarmvit/shared/planner";
import { learningRate } from "@swarmvit/shared/schedule";
import { rootOf } from "@swarmvit/shared/tree";
import type { SessionOptions } from "../core/options.ts";
import { applyStep, initialState, namesOf } from "./state.ts";
import { computeNode, TINY_TABLE } from "./tiny-model.ts";

export const RUN_ID = "00112233aabbccdd";

export const TINY_PLAN: Omit<PlanConfig, "unitCount" | "epochs"> = {
  seed: 7,
  sizes: [
    { height: 32, width: 32, batch: 4 },
    { height: 48, width: 48, batch: 2 },
    { height: 64, width: 64, batch: 2 },
  ],
  oneSize: false,
  shards: [
    { first: 0, count: 40 },
    { first: 40, count: 40 },
    { first: 80, count: 23 },
  ],
};

/** What a session of a tiny run is opened with, apart from its start and tools. */
export function tinySession(
  units: number,
  epochs: number,
  frameBytes: SessionOptions["frameBytes"] = (kind) => (kind === "gradient" ? 1000 : 100),
): Omit<SessionOptions, "start" | "tools" | "startedAt"> {
  const planner = openPlanner({ ...TINY_PLAN, unitCount: units, epochs });
  const refOf = (name: string) => (shard: { first: number; count: number }, i: number) => ({
    ...shard,
    sha256: `${name}-${i}`,
    bytes: 100,
  });
  return {
    run: {
      id: RUN_ID,
      name: "simulated",
      model: "mobilevit_xxs",
      variant: "xxs",
      classes: ["a", "b", "c"],
      dataset: "numbers",
      samples: planner.epochSamples,
      codec: "f32",
      smoothing: 0.1,
      dropout: 0,
      headDropout: 0,
      augment: { cropScale: [0.5, 1], cropRatio: [0.75, 1.33], flip: true, evalResize: 1 },
      parameterCount: TINY_TABLE.parameterCount,
      sizes: TINY_PLAN.sizes,
    },
    planner,
    schedule: {
      lr: 0.002,
      minLr: 0.00002,
      warmupLr: 0.0001,
      warmupSamples: 20,
      totalSamples: planner.totalSamples,
      granularity: "sample",
      epochSamples: planner.epochSamples,
    },
    epochs,
    minWorkers: 1,
    leaseSeconds: 30,
    checkpointEvery: 5,
    shards: TINY_PLAN.shards.map(refOf("train")),
    validation: {
      shards: [{ first: 0, count: 50 }].map(refOf("validation")),
      height: 48,
      width: 48,
      unitSamples: 4,
    },
    frameBytes,
    config: {},
  };
}

/** Names of the published parameters after each step of a calm run in `f32`, from nought on. */
export function referenceRun(
  planner: Planner,
  schedule: SessionOptions["schedule"],
  units: number,
  steps: number,
): string[] {
  const state = initialState("tiny", "f32");
  const names = [namesOf(state).parameters];
  for (let step = 0; step < steps; step++) {
    const plan = planner.planStep(step);
    if (!plan) break;
    const sum = computeNode(plan.units, rootOf(units).level, state.published);
    applyStep(state, "f32", sum, plan.samples, learningRate(schedule, plan.cursor));
    names.push(namesOf(state).parameters);
  }
  return names;
}
