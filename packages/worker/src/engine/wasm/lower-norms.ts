/** Batch norm, layer norm and their gradients as commands. */

import type { Activation, Operation } from "../graph.ts";
import type { Lowering } from "./lowering.ts";

const NORMS = [
  "batchNorm",
  "batchNormEval",
  "batchNormGrad",
  "layerNorm",
  "layerNormGrad",
] as const;

export type NormOperation = Extract<Operation, { op: (typeof NORMS)[number] }>;

export function isNorm(o: Operation): o is NormOperation {
  return (NORMS as readonly string[]).includes(o.op);
}

/** Floats of a task. */
const BLOCK = 16384;

const ACTIVATIONS: Readonly<Record<Activation, number>> = { none: 0, silu: 1, relu: 2 };

/** Appends the commands of a norm. */
export function lowerNorm(o: NormOperation, lowering: Lowering): void {
  const { at, channels, command, optional, parts, rows, summed } = lowering;
  switch (o.op) {
    case "batchNorm": {
      const [r, c] = [rows(o.x), channels(o.x)];
      const block = normRows(r, c);
      const chunks = Math.ceil(r / block);
      const [places] = parts(chunks * 3 * c);
      const results = [at(o.mean), at(o.variance), at(o.rstd)];
      const affine = [at(o.gamma), at(o.beta)];
      command("batchNormSums", chunks, at(o.x), places, r, c, block);
      const tasks = Math.ceil(c / 16);
      command("batchNormFinish", tasks, places, r, c, block, chunks, ...results);
      const moments = [at(o.mean), at(o.rstd)];
      const act = ACTIVATIONS[o.act];
      command("batchNormApply", chunks, at(o.x), ...affine, ...moments, at(o.y), r, c, block, act);
      return;
    }
    case "batchNormEval": {
      const [r, c] = [rows(o.x), channels(o.x)];
      const block = normRows(r, c);
      const tasks = Math.ceil(r / block);
      const [rstd] = parts(c);
      const affine = [at(o.gamma), at(o.beta)];
      command("batchNormRunning", 1, at(o.variance), rstd, c);
      const act = ACTIVATIONS[o.act];
      command(
        "batchNormApply",
        tasks,
        at(o.x),
        ...affine,
        at(o.mean),
        rstd,
        at(o.y),
        r,
        c,
        block,
        act,
      );
      return;
    }
    case "batchNormGrad": {
      const [r, c] = [rows(o.x), channels(o.x)];
      const block = normRows(r, c);
      const chunks = Math.ceil(r / block);
      const { places, finish } = summed(chunks, [
        [at(o.dbeta), c],
        [at(o.dgamma), c],
      ]);
      const dz = o.act === "none" ? at(o.dy) : at(o.dx);
      const affine = [at(o.gamma), at(o.beta), at(o.mean), at(o.rstd)];
      const sizes = [r, c, block];
      const act = ACTIVATIONS[o.act];
      command(
        "batchNormGradSums",
        chunks,
        ...[at(o.x), ...affine, at(o.dy), dz, ...places, ...sizes, act, optional(o.y)],
      );
      finish();
      const moments = [at(o.gamma), at(o.mean), at(o.rstd)];
      const sums = [at(o.dbeta), at(o.dgamma)];
      command("batchNormGradApply", chunks, at(o.x), ...moments, dz, ...sums, at(o.dx), ...sizes);
      return;
    }
    case "layerNorm": {
      const [r, c] = [rows(o.x), channels(o.x)];
      const block = Math.ceil(BLOCK / c);
      const affine = [at(o.gamma), at(o.beta)];
      const results = [at(o.y), at(o.mean), at(o.rstd)];
      command("layerNorm", Math.ceil(r / block), at(o.x), ...affine, ...results, r, c, block);
      return;
    }
    case "layerNormGrad": {
      const [r, c] = [rows(o.x), channels(o.x)];
      const block = Math.max(64, Math.ceil(r / 32));
      const chunks = Math.ceil(r / block);
      const { places, finish } = summed(chunks, [
        [at(o.dgamma), c],
        [at(o.dbeta), c],
      ]);
      const inputs = [at(o.x), at(o.gamma), at(o.mean), at(o.rstd), at(o.dy)];
      command("layerNormGrad", chunks, ...inputs, at(o.dx), ...places, r, c, block);
      finish();
      return;
    }
  }
}

/** Rows of a chunk of a batch norm: some 64 KiB, at most 64 chunks. */
function normRows(r: number, c: number): number {
  return Math.max(Math.ceil(BLOCK / c), Math.ceil(r / 64));
}
