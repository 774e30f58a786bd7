/** What is measured: the loss and all gradients of one unit, again and again. */

import { parameterTable } from "@swarmvit/shared/parameters";
import type { VariantName } from "@swarmvit/shared/variants";
import type { Batch, Executor, ModelConfig } from "../engine/executor.ts";
import { formulaBatch, formulaWeights } from "../engine/formula-model.ts";

export interface UnitSize {
  readonly variant: VariantName;
  readonly height: number;
  readonly width: number;
  readonly batch: number;
}

/** Classes of the head, for whoever is measured. */
export const CLASSES = 1000;

/** What an executor tells of a unit beside its time; null where it has no such thing. */
export interface UnitCounts {
  readonly dispatches: number | null;
  readonly submits: number | null;
  /** Compiled so far. */
  readonly pipelines: number | null;
  /** Bytes that the unit takes by the plan, weights included. */
  readonly arenaBytes: number | null;
}

/** An executor (or another program) that has computed its first unit and can compute more. */
export interface Rounds {
  /** What computes, in words. */
  readonly description: string;
  /** Milliseconds of the first unit, with everything that happens only once. */
  readonly firstMs: number;
  readonly counts: UnitCounts;
  /** Milliseconds of one more unit. */
  round(): Promise<number>;
  close(): Promise<void>;
}

export const NO_COUNTS: UnitCounts = {
  dispatches: null,
  submits: null,
  pipelines: null,
  arenaBytes: null,
};

/** The model that every executor is measured with. */
export function modelOf({ variant }: Pick<UnitSize, "variant">): ModelConfig {
  return { variant, classes: CLASSES, dropout: 0.05, headDropout: 0.1, smoothing: 0.1 };
}

/** The unit's images and labels. */
export function batchOf({ variant, height, width, batch }: UnitSize): Batch {
  return formulaBatch(variant, height, width, batch, CLASSES);
}

/** Gives an executor weights and computes its first unit; `begunAt` is when it was begun to be opened. */
export async function openRounds(
  executor: Executor,
  unit: UnitSize,
  begunAt: number,
): Promise<Rounds> {
  const { parameters } = formulaWeights(parameterTable(unit.variant, CLASSES));
  await executor.setWeights(parameters);
  const batch = batchOf(unit);
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
  const arenaBytes = executor.plannedBytes(unit.height, unit.width, unit.batch);
  return {
    description: executor.info.description,
    firstMs,
    counts: { ...NO_COUNTS, ...deviceCounts(executor), arenaBytes },
    round,
    close: () => executor.close(),
  };
}

/** What an executor on a GPU counts. */
function deviceCounts(executor: Executor): Partial<UnitCounts> {
  if (!("counts" in executor) || typeof executor.counts !== "function") return {};
  const { dispatches, submits, pipelines } = executor.counts();
  return { dispatches, submits, pipelines };
}
