/** Lowers a planned graph to dispatches: which kernels compute it, on what, in which order. */

import { dropoutThreshold, fnv1a32 } from "@swarmvit/shared/random";
import type { Operation, OperationKind, ValueId } from "../graph.ts";
import { elements } from "../graph-builder.ts";
import type { Plan } from "../plan.ts";
import type { Width } from "./kernel.ts";
import type { KernelOptions } from "./kernel-options.ts";
import {
  attentionKernel,
  attentionKeyGradKernel,
  attentionQueryGradKernel,
} from "./kernels/attention.ts";
import {
  compactAttentionKernel,
  compactAttentionKeyGradKernel,
  compactAttentionQueryGradKernel,
} from "./kernels/attention-compact.ts";
import {
  addKernel,
  concatKernel,
  dropoutKernel,
  foldKernel,
  siluGradKernel,
  siluKernel,
  splitKernel,
  twiceKernel,
} from "./kernels/elementwise.ts";
import { crossEntropyKernel, reportKernel } from "./kernels/loss.ts";
import {
  meanPoolGradKernel,
  meanPoolKernel,
  resizeGradKernel,
  resizeKernel,
} from "./kernels/resample.ts";
import {
  lowerBatchNorm,
  lowerBatchNormEval,
  lowerBatchNormGrad,
  lowerLayerNorm,
  lowerLayerNormGrad,
} from "./lower-norms.ts";
import {
  lowerConv,
  lowerConvInputGrad,
  lowerConvWeightGrad,
  lowerDepthwise,
  lowerDepthwiseWeightGrad,
  lowerLinear,
  lowerLinearInputGrad,
  lowerLinearWeightGrad,
} from "./lower-products.ts";
import { type Lowering, startLowering } from "./lowering.ts";

export interface Lowered extends Pick<Lowering, "dispatches" | "scratchBytes"> {
  /** For each dispatch, the kind of operation that asked for it; sums that waited count for the last one. */
  readonly kinds: readonly OperationKind[];
}

/** All dispatches of a planned graph, and the scratch memory they need. */
export function lower(plan: Plan, options: KernelOptions): Lowered {
  const lowering = startLowering(plan, options);
  const { operations } = plan.graph;
  const kinds: OperationKind[] = [];
  const note = ({ op }: Operation) => {
    while (kinds.length < lowering.dispatches.length) kinds.push(op);
  };
  for (const operation of operations) {
    lowerOperation(lowering, operation);
    note(operation);
  }
  lowering.flush();
  note(operations[operations.length - 1]);
  const { dispatches, scratchBytes } = lowering;
  return { dispatches, scratchBytes, kinds };
}

function lowerOperation(l: Lowering, o: Operation): void {
  const wg = l.options.workgroup;
  // Buffers are whole vectors of four: their ends may be computed past a value's own.
  const wide = l.width(4);
  const vectors = (id: ValueId) => Math.ceil(elements(l.shape(id)) / wide);
  const bind = (...ids: readonly ValueId[]) => ids.map((value) => ({ value }));
  switch (o.op) {
    case "linear":
      return lowerLinear(l, o);
    case "linearInputGrad":
      return lowerLinearInputGrad(l, o);
    case "linearWeightGrad":
      return lowerLinearWeightGrad(l, o);
    case "conv":
      return lowerConv(l, o);
    case "convInputGrad":
      return lowerConvInputGrad(l, o);
    case "convWeightGrad":
      return lowerConvWeightGrad(l, o);
    case "depthwise":
    case "depthwiseInputGrad":
      return lowerDepthwise(l, o);
    case "depthwiseWeightGrad":
      return lowerDepthwiseWeightGrad(l, o);
    case "batchNorm":
      return lowerBatchNorm(l, o);
    case "batchNormEval":
      return lowerBatchNormEval(l, o);
    case "batchNormGrad":
      return lowerBatchNormGrad(l, o);
    case "layerNorm":
      return lowerLayerNorm(l, o);
    case "layerNormGrad":
      return lowerLayerNormGrad(l, o);
    case "attention":
    case "attentionGrad":
      return lowerAttention(l, o);
    case "silu":
      return l.emit(siluKernel(wide, wg), [vectors(o.x)], bind(o.x, o.y));
    case "siluGrad":
      return l.emit(siluGradKernel(wide, wg), [vectors(o.x)], bind(o.x, o.dy, o.dx));
    case "add":
      return o.a === o.b
        ? l.emit(twiceKernel(wide, wg), [vectors(o.y)], bind(o.a, o.y))
        : l.emit(addKernel(wide, wg), [vectors(o.y)], bind(o.a, o.b, o.y));
    case "dropout":
      // Without a residual x is bound for it, and not added: one kernel for both.
      return l.emit(
        dropoutKernel(wide, wg),
        [
          ...[vectors(o.y), fnv1a32(o.site), dropoutThreshold(o.p), 1 / (1 - o.p)],
          o.residual === undefined ? 0 : 1,
        ],
        [{ value: o.x }, { unit: true }, ...bind(o.residual ?? o.x, o.y)],
      );
    case "concat":
    case "split": {
      const [a, b] = [o.a, o.b].map((id) => l.shape(id).at(-1) as number);
      const width = l.width(a, b);
      const total = elements(l.shape(o.y)) / width;
      return o.op === "concat"
        ? l.emit(concatKernel(width, wg), [total, a, b], bind(o.a, o.b, o.y))
        : l.emit(splitKernel(width, wg), [total, a, b], bind(o.y, o.a, o.b));
    }
    case "unfold":
    case "fold": {
      const [, h, w, c] = l.shape(o.op === "unfold" ? o.x : o.y);
      const width = l.width(c);
      const total = elements(l.shape(o.x)) / width;
      return l.emit(foldKernel(o.op, width, wg), [total, h, w, c], bind(o.x, o.y));
    }
    case "resize":
    case "resizeGrad": {
      const [from, to] = o.op === "resize" ? [o.x, o.y] : [o.dx, o.dy];
      const [, inH, inW, c] = l.shape(from);
      const [, outH, outW] = l.shape(to);
      const width = l.width(c);
      const sizes = [c, inH, inW, outH, outW];
      return o.op === "resize"
        ? l.emit(
            resizeKernel(width, wg),
            [elements(l.shape(o.y)) / width, ...sizes],
            bind(o.x, o.y),
          )
        : l.emit(
            resizeGradKernel(width, wg),
            [elements(l.shape(o.dx)) / width, ...sizes],
            bind(o.dy, o.dx),
          );
    }
    case "meanPool":
    case "meanPoolGrad": {
      const [, h, w, c] = l.shape(o.op === "meanPool" ? o.x : o.dx);
      const width = l.width(c);
      const result = o.op === "meanPool" ? o.y : o.dx;
      const total = elements(l.shape(result)) / width;
      return o.op === "meanPool"
        ? l.emit(meanPoolKernel(width, wg), [total, c, h * w], bind(o.x, o.y))
        : l.emit(meanPoolGradKernel(width, wg), [total, c, h * w], bind(o.dy, o.dx));
    }
    case "crossEntropy": {
      const [batch, classes] = l.shape(o.logits);
      const rows = l.scratch(0, batch * 3);
      const grad = o.dlogits === undefined ? [] : [o.dlogits];
      l.emit(
        crossEntropyKernel(grad.length > 0, wg),
        [batch, classes, o.smoothing],
        [...bind(o.logits, o.labels), rows, ...bind(...grad)],
      );
      return l.emit(reportKernel(wg), [3, batch], [rows, ...bind(o.report)]);
    }
  }
}

function lowerAttention(
  l: Lowering,
  o: Extract<Operation, { op: "attention" | "attentionGrad" }>,
): void {
  const [sequences, n, wide] = l.shape(o.qkv);
  const headDim = wide / 3 / o.heads;
  const width = l.width(headDim);
  const own = headDim / width;
  const kernels = attentionKernels(l, width, own);
  const rows = sequences * o.heads * n;
  const params = [rows, n, o.heads, own, 1 / Math.sqrt(headDim)];
  const bind = (...ids: readonly ValueId[]) => ids.map((value) => ({ value }));
  const work = rows * n * headDim;
  if (o.op === "attention")
    return l.emit(kernels.forward, params, bind(o.qkv, o.y, o.logSumExp), work * 2);
  const delta = l.scratch(0, rows);
  l.emit(
    kernels.queryGrad,
    params,
    [...bind(o.qkv, o.y, o.logSumExp, o.dy, o.dqkv), delta],
    work * 3,
  );
  l.emit(
    kernels.keyGrad,
    params,
    [...bind(o.qkv, o.logSumExp, o.dy), delta, ...bind(o.dqkv)],
    work * 4,
  );
}

/** The kernels for heads of `own` vectors. */
function attentionKernels(l: Lowering, width: Width, own: number) {
  const { workgroup, compact, padHeads: padded } = l.options;
  if (compact)
    return {
      forward: compactAttentionKernel(workgroup),
      queryGrad: compactAttentionQueryGradKernel(workgroup),
      keyGrad: compactAttentionKeyGradKernel(workgroup),
    };
  const vectors = padded ? Math.max(own, ...headVectors(l, width)) : own;
  const options = { vectors, width, padded, workgroup };
  return {
    forward: attentionKernel(options),
    queryGrad: attentionQueryGradKernel(options),
    keyGrad: attentionKeyGradKernel(options),
  };
}

/** Vectors of each head that is read in vectors of `width`. */
function headVectors({ graph, width: widthOf }: Lowering, width: Width): number[] {
  return graph.operations.flatMap((o) => {
    if (o.op !== "attention" && o.op !== "attentionGrad") return [];
    const headDim = (graph.values[o.qkv].shape.at(-1) as number) / 3 / o.heads;
    return widthOf(headDim) === width ? [headDim / width] : [];
  });
}
