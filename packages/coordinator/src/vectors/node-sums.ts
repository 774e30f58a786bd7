/**
 * The vectors of a step's nodes, and their sums along the tree. `int8` contributions stay encoded,
 * a quarter of the memory, until eight of them are added in one pass; vectors that are used up are
 * used again, since fresh memory costs as much as the addition itself.
 */

import type { ParameterTable } from "@swarmvit/shared/parameters";
import { type Node, nodeKey } from "@swarmvit/shared/tree";
import { addVectors } from "../core/average.ts";
import { MOST_SUMMED, vectorKernels } from "./kernels.ts";

export interface NodeVectors {
  /** Float32 values, or the bytes of an `int8` gradient. */
  readonly gradient: Float32Array | Uint8Array;
  readonly statistics: Float32Array;
}

export interface NodeSums {
  fill(step: number, node: Node, vectors: NodeVectors): void;
  /** node = left + right; the halves are used up. */
  add(step: number, node: Node, left: Node, right: Node): void;
  /** node = child. */
  alias(step: number, node: Node, child: Node): void;
  /** A node's values, which are the caller's from then on. Errors where it is not filled. */
  take(step: number, node: Node): { gradient: Float32Array; statistics: Float32Array };
  /** Gives a vector back that nobody reads any more. */
  recycle(gradient: Float32Array): void;
  /** The memory of `int8` frames that are used up, the caller's from then on. */
  takeSpent(): Uint8Array[];
  forget(step: number): void;
  clear(): void;
}

/** What a node holds: values, or 2^k `int8` gradients in tree order whose sum is still to be made. */
type Held = Float32Array | readonly Uint8Array[];

interface HeldVectors {
  readonly gradient: Held;
  readonly statistics: Float32Array;
}

/** Of vectors kept for the next additions, and of frames used up: those of a step with many volunteers. */
const SPARE_BYTES = 64 * 2 ** 20;

/** Opens an empty store for vectors of this table. */
export function openNodeSums(table: ParameterTable): NodeSums {
  const steps = new Map<number, Map<string, HeldVectors>>();
  const spare: Float32Array[] = [];
  const mostSpare = Math.max(4, Math.floor(SPARE_BYTES / (4 * table.parameterCount)));
  let spent: Uint8Array[] = [];
  let spentBytes = 0;

  const nodesOf = (step: number) => {
    let nodes = steps.get(step);
    if (!nodes) {
      nodes = new Map();
      steps.set(step, nodes);
    }
    return nodes;
  };
  const use = (step: number, node: Node): HeldVectors => {
    const nodes = nodesOf(step);
    const vectors = nodes.get(nodeKey(node));
    if (!vectors) throw new Error(`node ${nodeKey(node)} of step ${step} is not filled`);
    nodes.delete(nodeKey(node));
    return vectors;
  };
  const fresh = () => spare.pop() ?? new Float32Array(table.parameterCount);
  /** Encoded gradients have been read for the last time. */
  const spend = (gradients: readonly Uint8Array[]) => {
    for (const { buffer } of gradients) {
      if (spentBytes + buffer.byteLength > SPARE_BYTES) return;
      spentBytes += buffer.byteLength;
      spent.push(new Uint8Array(buffer));
    }
  };
  const valuesOf = (held: Held): Float32Array => {
    if (held instanceof Float32Array) return held;
    const values = fresh();
    vectorKernels().sumInt8(table, held, values);
    spend(held);
    return values;
  };
  const recycle = (gradient: Float32Array) => {
    // A view of a frame would hold the whole frame.
    const isWhole = gradient.byteLength === gradient.buffer.byteLength;
    if (isWhole && spare.length < mostSpare) spare.push(gradient);
  };
  const sumOf = (left: Held, right: Held): Held => {
    const isEncoded = !(left instanceof Float32Array || right instanceof Float32Array);
    // Halves of one size only: any other sum would not be the tree's.
    if (isEncoded && left.length === right.length && 2 * left.length <= MOST_SUMMED)
      return [...left, ...right];
    const sum = valuesOf(left);
    const other = valuesOf(right);
    addVectors(sum, sum, other);
    recycle(other);
    return sum;
  };

  return {
    fill(step, node, { gradient, statistics }) {
      const held = gradient instanceof Float32Array ? gradient : [gradient];
      nodesOf(step).set(nodeKey(node), { gradient: held, statistics });
    },
    add(step, node, left, right) {
      const a = use(step, left);
      const b = use(step, right);
      addVectors(a.statistics, a.statistics, b.statistics);
      const gradient = sumOf(a.gradient, b.gradient);
      nodesOf(step).set(nodeKey(node), { gradient, statistics: a.statistics });
    },
    alias: (step, node, child) => void nodesOf(step).set(nodeKey(node), use(step, child)),
    take(step, node) {
      const { gradient, statistics } = use(step, node);
      return { gradient: valuesOf(gradient), statistics };
    },
    recycle,
    takeSpent() {
      const taken = spent;
      spent = [];
      spentBytes = 0;
      return taken;
    },
    forget: (step) => void steps.delete(step),
    clear: () => steps.clear(),
  };
}
