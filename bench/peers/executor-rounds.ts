/** Rounds of an executor: one unit after the other, each a node of its own. */

import { parameterTable } from "@swarmvit/shared/parameters";
import { fill } from "@swarmvit/shared/random";
import type { Batch, Executor, ModelConfig } from "@swarmvit/worker/engine/executor";
import { CLASSES, type RunningPeer, type UnitSize } from "./peer.ts";

/** The model that every executor is measured with. */
export function modelOf({ variant }: UnitSize): ModelConfig {
  return { variant, classes: CLASSES, dropout: 0.05, headDropout: 0.1, smoothing: 0.1 };
}

/** Gives the executor formula weights and computes the first unit; `begunAt` is when it was opened. */
export async function executorRounds(
  executor: Executor,
  unit: UnitSize,
  begunAt: number,
): Promise<RunningPeer> {
  await executor.setWeights(formulaWeights(unit));
  const batch = formulaBatch(unit);
  const round = async () => {
    const node = executor.startNode();
    const started = performance.now();
    await node.add(batch);
    const ms = performance.now() - started;
    node.abandon();
    return ms;
  };
  await round();
  const firstMs = performance.now() - begunAt;
  return {
    description: executor.info.description,
    firstMs,
    round,
    close: () => executor.close(),
  };
}

/** Weights that keep activations finite: uniform, scales of norms 1. */
function formulaWeights({ variant }: UnitSize): Float32Array {
  const table = parameterTable(variant, CLASSES);
  const weights = fill("bench", table.parameterCount, 0, 0.1);
  for (const { kind, offset, size } of table.parameters)
    if (kind.endsWith("gamma")) weights.fill(1, offset, offset + size);
  return weights;
}

function formulaBatch({ size, batch }: UnitSize): Batch {
  return {
    height: size,
    width: size,
    pixels: fill("pixels", batch * size * size * 3, 0.5, 0.5),
    labels: Int32Array.from({ length: batch }, (_, i) => i % CLASSES),
    seed: 1,
  };
}
