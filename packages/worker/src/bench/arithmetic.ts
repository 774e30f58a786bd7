/**
 * What a graph's operations cost at least, from their shapes alone: floating-point operations, and bytes
 * if each operand were read once and each result written once. What measured times are held against.
 */

import type { Graph, Operation, OperationKind, ValueId } from "../engine/graph.ts";
import { elements } from "../engine/graph-builder.ts";
import { operandsOf } from "../engine/operands.ts";

export interface Work {
  readonly calls: number;
  readonly flop: number;
  readonly bytes: number;
}

/** The work of each kind of operation in a graph. */
export function workOf(graph: Graph): Map<OperationKind, Work> {
  const work = new Map<OperationKind, Work>();
  for (const operation of graph.operations) {
    const { calls, flop, bytes } = work.get(operation.op) ?? { calls: 0, flop: 0, bytes: 0 };
    work.set(operation.op, {
      calls: calls + 1,
      flop: flop + flopOf(graph, operation),
      bytes: bytes + bytesOf(graph, operation),
    });
  }
  return work;
}

/** Bytes of an operation's operands and results, each once. */
export function bytesOf(graph: Graph, operation: Operation): number {
  const { reads, writes } = operandsOf(operation);
  return [...reads, ...writes].reduce((sum, id) => sum + 4 * elements(graph.values[id].shape), 0);
}

/**
 * Floating-point operations: a multiplication and an addition are two, an exponential or a division
 * counts as one. Exact for products, convolutions and attention; for the rest what a plain loop does.
 */
export function flopOf(graph: Graph, o: Operation): number {
  const shape = (id: ValueId) => graph.values[id].shape;
  const size = (id: ValueId) => elements(shape(id));
  switch (o.op) {
    case "linear":
      return 2 * size(o.y) * (shape(o.w)[1] ?? 1);
    case "linearInputGrad":
      return 2 * size(o.dy) * (shape(o.w)[1] ?? 1);
    case "linearWeightGrad":
      return 2 * size(o.dy) * (shape(o.x).at(-1) ?? 1);
    case "conv":
      return 18 * size(o.y) * (shape(o.x).at(-1) ?? 1);
    case "convInputGrad":
      return 18 * size(o.dy) * (shape(o.dx).at(-1) ?? 1);
    case "convWeightGrad":
      return 18 * size(o.dy) * (shape(o.x).at(-1) ?? 1);
    case "depthwise":
      return 18 * size(o.y);
    case "depthwiseInputGrad":
    case "depthwiseWeightGrad":
      return 18 * size(o.dy);
    // scores and values, each 2·d a pair; with the gradient also dP, dV, dQ and dK, and scores again
    case "attention":
      return pairs(o) * (4 * headDim(o) + 4);
    case "attentionGrad":
      return pairs(o) * (10 * headDim(o) + 8);
    case "batchNorm":
    case "layerNorm":
      return size(o.y) * (o.op === "batchNorm" && o.act !== "none" ? 9 : 6);
    case "batchNormGrad":
    case "layerNormGrad":
      return size(o.dx) * (o.op === "batchNormGrad" && o.act !== "none" ? 18 : 9);
    case "batchNormEval":
      return size(o.y) * (o.act === "none" ? 2 : 5);
    case "silu":
      return 3 * size(o.y);
    case "siluGrad":
      return 7 * size(o.dx);
    case "dropout":
      return 2 * size(o.y);
    case "add":
      return size(o.y);
    case "resize":
      return 8 * size(o.y);
    case "resizeGrad":
      return 8 * size(o.dy);
    case "meanPool":
      return size(o.x);
    case "meanPoolGrad":
      return size(o.dx);
    case "crossEntropy":
      return 6 * size(o.logits);
    case "unfold":
    case "fold":
    case "concat":
    case "split":
      return 0;
  }

  function headDim({ qkv, heads }: { qkv: ValueId; heads: number }): number {
    return (shape(qkv).at(-1) ?? 0) / 3 / heads;
  }
  function pairs({ qkv, heads }: { qkv: ValueId; heads: number }): number {
    const [sequences, n] = shape(qkv);
    return sequences * heads * n * n;
  }
}
