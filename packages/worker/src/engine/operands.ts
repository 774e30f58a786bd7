/** Which values an operation reads and writes: the one table that plans and executors share. */

import type { Operation, ValueId } from "./graph.ts";

export interface Operands {
  readonly reads: readonly ValueId[];
  readonly writes: readonly ValueId[];
}

/** The operands of an operation, each value once, optional ones only where present. */
export function operandsOf(o: Operation): Operands {
  switch (o.op) {
    case "linear":
      return { reads: present(o.x, o.w, o.bias), writes: [o.y] };
    case "linearInputGrad":
    case "convInputGrad":
    case "depthwiseInputGrad":
      return { reads: [o.dy, o.w], writes: [o.dx] };
    case "linearWeightGrad":
      return { reads: [o.x, o.dy], writes: present(o.dw, o.dbias) };
    case "conv":
    case "depthwise":
      return { reads: [o.x, o.w], writes: [o.y] };
    case "convWeightGrad":
    case "depthwiseWeightGrad":
      return { reads: [o.x, o.dy], writes: [o.dw] };
    case "batchNorm":
      return {
        reads: present(o.x, o.gamma, o.beta, o.residual),
        writes: [o.y, o.mean, o.variance, o.rstd],
      };
    case "batchNormGrad":
      return {
        reads: present(o.x, o.gamma, o.beta, o.mean, o.rstd, o.y, o.dy),
        writes: [o.dx, o.dgamma, o.dbeta],
      };
    case "batchNormEval":
      return { reads: [o.x, o.gamma, o.beta, o.mean, o.variance], writes: [o.y] };
    case "layerNorm":
      return { reads: [o.x, o.gamma, o.beta], writes: [o.y, o.mean, o.rstd] };
    case "layerNormGrad":
      return {
        reads: present(o.x, o.gamma, o.mean, o.rstd, o.dy, o.residual),
        writes: [o.dx, o.dgamma, o.dbeta],
      };
    case "attention":
      return { reads: [o.qkv], writes: [o.y, o.logSumExp] };
    case "attentionGrad":
      return { reads: [o.qkv, o.y, o.logSumExp, o.dy], writes: [o.dqkv] };
    case "siluGrad":
      return { reads: present(o.x, o.y, o.dy), writes: [o.dx] };
    case "silu":
    case "unfold":
    case "fold":
    case "resize":
    case "meanPool":
      return { reads: [o.x], writes: [o.y] };
    case "resizeGrad":
    case "meanPoolGrad":
      return { reads: [o.dy], writes: [o.dx] };
    case "dropout":
      return { reads: present(o.x, o.residual), writes: [o.y] };
    case "add":
      return { reads: o.a === o.b ? [o.a] : [o.a, o.b], writes: [o.y] };
    case "concat":
      return { reads: o.a === o.b ? [o.a] : [o.a, o.b], writes: [o.y] };
    case "split":
      return { reads: [o.y], writes: [o.a, o.b] };
    case "crossEntropy":
      return { reads: [o.logits, o.labels], writes: present(o.report, o.dlogits) };
  }
}

function present(...ids: (ValueId | undefined)[]): ValueId[] {
  return ids.filter((id): id is ValueId => id !== undefined);
}
