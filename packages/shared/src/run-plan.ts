/** From a run's configuration to its plan: sizes, units, schedule and augmentation. */

import type { RunConfig } from "./config.ts";
import { parseScales } from "./config.ts";
import { type SizeTuple, sizeTable } from "./multiscale.ts";
import type { PlanConfig, ShardSpan } from "./planner.ts";
import type { AugmentConfig } from "./protocol.ts";
import type { Schedule } from "./schedule.ts";
import type { VariantName } from "./variants.ts";

/** "mobilevit_xxs" → "xxs". */
export function variantOf(config: Pick<RunConfig, "model">): VariantName {
  return config.model.slice("mobilevit_".length) as VariantName;
}

/** The sizes that units are drawn from, with their batches (at least 2: batch norm needs two). */
export function sizeTableOf(config: RunConfig): SizeTuple[] {
  const { min, max, count, divisor } = parseScales(config.scales);
  return sizeTable({
    baseHeight: config.imgSize,
    baseWidth: config.imgSize,
    unitSize: config.unitSize,
    minHeight: min,
    maxHeight: max,
    minWidth: min,
    maxWidth: max,
    count,
    divisor,
    semantics: config.scaleBatches,
  }).map((size) => ({ ...size, batch: Math.max(2, size.batch) }));
}

export function planConfigOf(config: RunConfig, shards: readonly ShardSpan[]): PlanConfig {
  return {
    seed: config.seed,
    unitCount: config.batchSize / config.unitSize,
    sizes: sizeTableOf(config),
    oneSize: config.oneSize,
    shards,
    epochs: config.epochs,
  };
}

/** Longest default warm-up of the small recipe, in steps. */
const SMALL_WARMUP_STEPS = 200;
/** [P01]: 3000 iterations. */
const PAPER_WARMUP_STEPS = 3000;

/** The learning-rate schedule over the samples of the run. Both recipes warm up from the minimum. */
export function scheduleOf(config: RunConfig, epochSamples: number): Schedule {
  const totalSamples = epochSamples * config.epochs;
  const paper = config.recipe === "paper";
  const warmupSamples =
    config.warmupSteps !== undefined
      ? config.warmupSteps * config.batchSize
      : paper
        ? PAPER_WARMUP_STEPS * config.batchSize
        : Math.min(SMALL_WARMUP_STEPS * config.batchSize, 0.05 * totalSamples);
  return {
    lr: config.lr,
    minLr: config.minLr,
    // A step at exactly 0 would be wasted; [P01] starts at its minimum as well.
    warmupLr: Math.max(config.minLr, config.lr / 100),
    warmupSamples,
    totalSamples,
    granularity: paper ? "epoch" : "sample",
    epochSamples,
  };
}

export function augmentOf(config: RunConfig): AugmentConfig {
  return {
    cropScale: config.cropScale,
    cropRatio: [3 / 4, 4 / 3],
    flip: true,
    // [P01] resizes to 288 and crops 256; small images are taken whole.
    evalResize: config.recipe === "paper" ? 288 / 256 : 1,
  };
}
