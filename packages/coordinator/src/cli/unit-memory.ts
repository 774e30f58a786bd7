/** What a unit needs on a device, by the engine's plan: nobody is leased what does not fit. */

import { ConfigError, type RunConfig } from "@swarmvit/shared/config";
import type { ContributionKind } from "@swarmvit/shared/frame";
import { parameterTable } from "@swarmvit/shared/parameters";
import { sizeTableOf, variantOf } from "@swarmvit/shared/run-plan";
import type { ModelConfig } from "@swarmvit/worker/engine/executor";
import { evaluationGraph, trainingGraph } from "@swarmvit/worker/engine/mobilevit";
import { plan } from "@swarmvit/worker/engine/plan";

export type UnitBytes = (
  height: number,
  width: number,
  batch: number,
  kind: ContributionKind,
) => number;

const MEGABYTE = 2 ** 20;

/** Bytes of a unit's arena and the weights; planned once a size. */
export function unitBytesOf(config: RunConfig, classes: number): UnitBytes {
  const variant = variantOf(config);
  const model: ModelConfig = { variant, classes, dropout: 0, headDropout: 0, smoothing: 0 };
  const weightBytes = 4 * parameterTable(variant, classes).parameterCount;
  const known = new Map<string, number>();
  return (height, width, batch, kind) => {
    const key = `${kind} ${height}x${width}x${batch}`;
    const kept = known.get(key);
    if (kept !== undefined) return kept;
    const make = kind === "gradient" ? trainingGraph : evaluationGraph;
    const bytes = plan(make(model, height, width, batch).graph).bytes + weightBytes;
    known.set(key, bytes);
    return bytes;
  };
}

/** Refuses a run whose units would need more than `--unit-memory`. */
export function checkUnitMemory(config: RunConfig, unitBytes: UnitBytes): void {
  if (config.unitMemory === undefined) return;
  for (const { height, width, batch } of sizeTableOf(config)) {
    const bytes = unitBytes(height, width, batch, "gradient");
    if (bytes <= config.unitMemory * MEGABYTE) continue;
    const needed = Math.ceil(bytes / MEGABYTE);
    throw new ConfigError(
      "unitMemory",
      `a unit of ${batch} images at ${height}x${width} needs ${needed} MB, --unit-memory allows ${config.unitMemory}: lower --unit-size or --scales, or raise it`,
    );
  }
}
