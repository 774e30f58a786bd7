/** Joins additions to the normalisation that feeds them: fewer passes over memory, fewer dispatches. */

import type { Graph, Operation, ValueId } from "../graph.ts";
import { operandsOf } from "../operands.ts";

type Addition = Extract<Operation, { op: "add" }>;

/**
 * The same graph with `add` folded into a batchNorm's or layerNormGrad's result, wherever that result
 * is used by nothing else. What an operation reads and writes stays in `operandsOf`.
 */
export function fuseAdditions(graph: Graph): Graph {
  const uses = new Map<ValueId, number>();
  const count = (id: ValueId) => uses.set(id, (uses.get(id) ?? 0) + 1);
  for (const operation of graph.operations) operandsOf(operation).reads.forEach(count);
  graph.outputs.forEach(count);

  const operations: Operation[] = [];
  for (const operation of graph.operations) {
    const fused = operation.op === "add" && fuse(operations.at(-1), operation, uses);
    if (fused) operations[operations.length - 1] = fused;
    else operations.push(operation);
  }
  return { ...graph, operations };
}

/** One operation for two, if the addition alone uses the result of the one right before it. */
function fuse(
  previous: Operation | undefined,
  { a, b, y }: Addition,
  uses: ReadonlyMap<ValueId, number>,
): Operation | undefined {
  if (previous?.op !== "batchNorm" && previous?.op !== "layerNormGrad") return undefined;
  if (previous.residual !== undefined) return undefined;
  const result = previous.op === "batchNorm" ? previous.y : previous.dx;
  if (a === b || (result !== a && result !== b) || uses.get(result) !== 1) return undefined;
  const residual = result === a ? b : a;
  return previous.op === "batchNorm"
    ? { ...previous, y, residual }
    : { ...previous, dx: y, residual };
}
