/** Lowers batch norm and layer norm to dispatches. */

import type { Operation, ValueId } from "../graph.ts";
import { ACTIVATION } from "./kernel.ts";
import {
  batchApplyKernel,
  batchEvalKernel,
  batchGradApplyKernel,
  batchGradSumsKernel,
  batchGradTotalsKernel,
  batchMomentsKernel,
  batchStatisticsKernel,
} from "./kernels/batch-norm.ts";
import {
  layerNormGradKernel,
  layerNormKernel,
  layerNormWeightGradKernel,
} from "./kernels/layer-norm.ts";
import type { Lowering } from "./lowering.ts";

type Of<K extends Operation["op"]> = Extract<Operation, { op: K }>;

/** A value as rows of channels, in vectors of the widest fit. */
function strips(l: Lowering, id: ValueId) {
  const shape = l.shape(id);
  const channels = shape.at(-1) as number;
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  const width = l.width(channels);
  return {
    rows,
    channels,
    vectors: channels / width,
    o: { width, workgroup: l.options.workgroup },
  };
}

/** Statistics by slabs, moments, then the normalised map. */
export function lowerBatchNorm(l: Lowering, op: Of<"batchNorm">): void {
  const { rows, channels, vectors, o } = strips(l, op.x);
  const { rowsPerSlab, slabs } = l.cut(rows, vectors, 8);
  const parts = l.scratch(0, slabs * 2 * channels);
  const coefficients = l.scratch(1, 3 * channels);
  const work = rows * channels;
  l.emit(
    batchStatisticsKernel(o),
    [slabs * vectors, rows, channels, rowsPerSlab],
    [{ value: op.x }, parts],
    work * 4,
  );
  l.emit(
    batchMomentsKernel(o),
    [vectors, rows, channels, rowsPerSlab, slabs],
    [
      parts,
      ...[op.gamma, op.beta, op.mean, op.variance, op.rstd].map((value) => ({ value })),
      coefficients,
    ],
  );
  const { strip } = l.options;
  const residual = op.residual === undefined ? 0 : 1;
  // Without a residual x is bound for it, and not added: one kernel for both.
  l.emit(
    batchApplyKernel(o),
    [Math.ceil(rows / strip) * vectors, rows, channels, strip, ACTIVATION[op.act], residual],
    [{ value: op.x }, coefficients, { value: op.residual ?? op.x }, { value: op.y }],
    work * 8,
  );
}

/** Running statistics. */
export function lowerBatchNormEval(l: Lowering, op: Of<"batchNormEval">): void {
  const { rows, channels, vectors, o } = strips(l, op.x);
  const { strip } = l.options;
  l.emit(
    batchEvalKernel(o),
    [Math.ceil(rows / strip) * vectors, rows, channels, strip, ACTIVATION[op.act]],
    [op.x, op.mean, op.variance, op.gamma, op.beta, op.y].map((value) => ({ value })),
    rows * channels * 8,
  );
}

/** Sums by slabs, totals (dgamma and dbeta), then dx. */
export function lowerBatchNormGrad(l: Lowering, op: Of<"batchNormGrad">): void {
  const { rows, channels, vectors, o } = strips(l, op.x);
  const { rowsPerSlab, slabs } = l.cut(rows, vectors, 8);
  const parts = l.scratch(0, slabs * 2 * channels);
  const coefficients = l.scratch(1, 6 * channels);
  const work = rows * channels;
  const affine = [op.mean, op.rstd, op.gamma, op.beta].map((value) => ({ value }));
  l.emit(
    batchGradSumsKernel(o),
    [slabs * vectors, rows, channels, rowsPerSlab, ACTIVATION[op.act]],
    [{ value: op.x }, ...affine, { value: op.dy }, parts],
    work * 12,
  );
  l.emit(
    batchGradTotalsKernel(o),
    [vectors, rows, slabs],
    [parts, ...affine, { value: op.dgamma }, { value: op.dbeta }, coefficients],
  );
  const { strip } = l.options;
  l.emit(
    batchGradApplyKernel(o),
    [Math.ceil(rows / strip) * vectors, rows, channels, strip, ACTIVATION[op.act]],
    [{ value: op.x }, { value: op.dy }, coefficients, { value: op.dx }],
    work * 16,
  );
}

/** One row an invocation. */
export function lowerLayerNorm(l: Lowering, op: Of<"layerNorm">): void {
  const { rows, channels, o } = strips(l, op.x);
  l.emit(
    layerNormKernel(o),
    [rows, channels],
    [op.x, op.gamma, op.beta, op.y, op.mean, op.rstd].map((value) => ({ value })),
    rows * channels * 8,
  );
}

/** dx row by row, dgamma and dbeta by slabs of rows. */
export function lowerLayerNormGrad(l: Lowering, op: Of<"layerNormGrad">): void {
  const { rows, channels, vectors, o } = strips(l, op.x);
  const residual = op.residual ?? op.x;
  l.emit(
    layerNormGradKernel(o),
    [rows, channels, op.residual === undefined ? 0 : 1],
    [op.x, op.gamma, op.mean, op.rstd, op.dy, residual, op.dx].map((value) => ({ value })),
    rows * channels * 12,
  );
  const { rowsPerSlab, slabs } = l.cut(rows, vectors, 8);
  const gamma = l.slabs(op.dgamma, slabs);
  const beta = l.slabs(op.dbeta, slabs);
  l.emit(
    layerNormWeightGradKernel(o),
    [slabs * vectors, rows, channels, rowsPerSlab, gamma.stride / o.width],
    [...[op.x, op.mean, op.rstd, op.dy].map((value) => ({ value })), gamma.binding, beta.binding],
    rows * channels * 6,
  );
}
