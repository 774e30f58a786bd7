/**
 * Adds the units of a node in tree order (DESIGN section 5), so that any grouping of units over
 * volunteers gives the same bits: a binary counter that merges equal levels as units arrive.
 */

import type { NodeGradient } from "./executor.ts";

export interface TreeSum {
  /** Adds the next unit, and keeps (and later overwrites) its vectors. */
  add(unit: NodeGradient): void;
  /** The sum of all units so far, in tree order; an error if there is none. */
  finish(): NodeGradient;
}

/** An empty sum. `release` is told of each unit whose vectors are needed no more. */
export function createTreeSum(release?: (unit: NodeGradient) => void): TreeSum {
  // Levels fall strictly from bottom to top: the binary digits of the number of units.
  const stack: { level: number; sum: NodeGradient }[] = [];
  const merge = () => {
    const right = stack.pop();
    const left = stack.pop();
    if (!left || !right) throw new Error("a tree sum needs two entries to merge");
    stack.push({ level: left.level + 1, sum: addNodes(left.sum, right.sum) });
    release?.(right.sum);
  };
  return {
    add(unit) {
      stack.push({ level: 0, sum: unit });
      while (stack.length > 1 && stack.at(-1)?.level === stack.at(-2)?.level) merge();
    },
    finish() {
      if (stack.length === 0)
        throw new Error("a node was finished before any unit was added to it");
      while (stack.length > 1) merge();
      return (stack.pop() as { sum: NodeGradient }).sum;
    },
  };
}

/** left + right, one float32 rounding an element; the result lies in left's vectors. */
export function addNodes(left: NodeGradient, right: NodeGradient): NodeGradient {
  addInto(left.gradient, right.gradient);
  addInto(left.statistics, right.statistics);
  return {
    samples: left.samples + right.samples,
    loss: left.loss + right.loss,
    top1: left.top1 + right.top1,
    top5: left.top5 + right.top5,
    gradient: left.gradient,
    statistics: left.statistics,
  };
}

function addInto(sum: Float32Array, part: Float32Array): void {
  if (sum.length !== part.length)
    throw new Error(`expected vectors of one length, got ${sum.length} and ${part.length}`);
  for (let i = 0; i < sum.length; i++) sum[i] += part[i];
}
