/** From a configuration and packed data to what the core is opened with. */

import { FLAGS, type RunConfig } from "@swarmvit/shared/config";
import { frameBytes } from "@swarmvit/shared/frame";
import { type ParameterTable, parameterTable } from "@swarmvit/shared/parameters";
import { openPlanner, type PlanConfig } from "@swarmvit/shared/planner";
import type { RunInfo, ShardRef } from "@swarmvit/shared/protocol";
import {
  augmentOf,
  planConfigOf,
  scheduleOf,
  sizeTableOf,
  variantOf,
} from "@swarmvit/shared/run-plan";
import { HEAD_DROPOUT, VARIANTS } from "@swarmvit/shared/variants";
import type { SessionOptions } from "./core/options.ts";

/** What the coordinator needs to know of a packed dataset: `datasets/packed-dataset.ts` has it. */
export interface PackedData {
  readonly name: string;
  readonly classes: readonly string[];
  readonly train: PackedDataSplit;
  readonly validation: PackedDataSplit;
}

export interface PackedDataSplit {
  readonly samples: number;
  readonly shards: readonly ShardRef[];
}

export interface SessionPlan {
  readonly table: ParameterTable;
  readonly planConfig: PlanConfig;
  readonly session: Pick<
    SessionOptions,
    | "run"
    | "planner"
    | "schedule"
    | "epochs"
    | "minWorkers"
    | "leaseSeconds"
    | "maxSteps"
    | "evalEvery"
    | "shards"
    | "validation"
    | "frameBytes"
    | "config"
  >;
}

/** Evaluation needs no activations for a backward pass: units of twice the size cost about the same. */
const EVALUATION_UNIT = 2;
/** Never told to pages: they are secrets, or paths of this machine. */
const PRIVATE = new Set(["token", "cert", "key", "runsDir"]);

/** Errors where the data cannot fill one unit. */
export function planSession(
  config: RunConfig,
  data: PackedData,
  id: string,
  name: string,
): SessionPlan {
  const variant = variantOf(config);
  const table = parameterTable(variant, data.classes.length);
  const planConfig = planConfigOf(config, data.train.shards);
  const planner = openPlanner(planConfig);
  const run: RunInfo = {
    id,
    name,
    model: config.model,
    variant,
    classes: data.classes,
    dataset: data.name,
    samples: data.train.samples,
    codec: config.codec,
    smoothing: config.smoothing,
    dropout: config.dropout ?? VARIANTS[variant].dropout,
    headDropout: config.dropout === 0 ? 0 : HEAD_DROPOUT,
    augment: augmentOf(config),
    parameterCount: table.parameterCount,
    sizes: sizeTableOf(config),
  };
  return {
    table,
    planConfig,
    session: {
      run,
      planner,
      schedule: scheduleOf(config, planner.epochSamples),
      epochs: config.epochs,
      minWorkers: config.minWorkers,
      leaseSeconds: config.leaseSeconds,
      maxSteps: config.maxSteps,
      evalEvery: config.evalEvery,
      shards: data.train.shards,
      validation: {
        shards: data.validation.shards,
        height: config.imgSize,
        width: config.imgSize,
        unitSamples: EVALUATION_UNIT * config.unitSize,
      },
      frameBytes: (kind) => frameBytes(kind, config.codec, table),
      config: shownConfig(config),
    },
  };
}

/** Flag name → value, without what is nobody's business. */
function shownConfig(config: RunConfig): Record<string, unknown> {
  return Object.fromEntries(
    FLAGS.filter(({ key }) => !PRIVATE.has(key) && config[key] !== undefined).map((flag) => [
      flag.flag.slice(2),
      config[flag.key],
    ]),
  );
}
