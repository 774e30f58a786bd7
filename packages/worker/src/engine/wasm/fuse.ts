/** What the kernels want of a graph that the builder does not say. */

import type { Graph, Operation, ValueId } from "../graph.ts";

/**
 * The same graph with the results of SiLU kept for its gradients: the sigmoid is y/x, so the gradient
 * needs no exponential. The arena grows by half a percent: y is read just before anyway.
 */
export function keepActivations(graph: Graph): Graph {
  const results = new Map<ValueId, ValueId>();
  for (const o of graph.operations)
    if (o.op === "silu" || (o.op === "batchNorm" && o.act === "silu")) results.set(o.x, o.y);
  const operations = graph.operations.map((o): Operation => {
    const wants = o.op === "siluGrad" || (o.op === "batchNormGrad" && o.act === "silu");
    return wants ? { ...o, y: results.get(o.x) } : o;
  });
  return { ...graph, operations };
}
