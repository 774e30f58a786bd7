/**
 * The policy of who computes how much: pure, so that it can be judged and replaced on its own. Each
 * volunteer is given whole nodes of the free units such that all of a step's contributions are in
 * as soon as possible: its computing, one upload behind another, and what each costs the sum.
 */

export interface Worker {
  /** Milliseconds from now until it could begin. */
  readonly waitMs: number;
  /** Milliseconds a unit of the step takes it, on average. */
  readonly unitMs: number;
  /** Milliseconds a contribution is on its way up; the next node is computed meanwhile. */
  readonly uploadMs: number;
  /** True while the contribution before is still to be sent. */
  readonly isSending?: boolean;
}

export interface Shares {
  /** Levels of each worker's nodes in the order to be computed, the smallest first; together all free units. */
  readonly levels: readonly (readonly number[])[];
  /** Milliseconds from now until the last contribution is in. */
  readonly endsMs: number;
}

/** What a contribution more costs the coordinator: it is checked and added to the others. */
const NODE_MS = 3;
/** An end this much later is tried where it may take fewer contributions. */
const SLACKS = [1.01, 1.02, 1.04, 1.08];
const CLOSE_ENOUGH = 1.002;

/**
 * Shares out the free units: `free[k]` nodes of 2^k units, halved where smaller ones are wanted.
 * A worker's nodes are computed in ascending order, so that all its uploads but the last are hidden
 * behind computing where its line allows that.
 */
export function shareNodes(workers: readonly Worker[], free: readonly number[]): Shares {
  const units = free.reduce((sum, count, level) => sum + count * 2 ** level, 0);
  if (workers.length === 0 || units === 0) return { levels: workers.map(() => []), endsMs: 0 };
  let low = Number.POSITIVE_INFINITY;
  let power = 0;
  for (const { waitMs, unitMs, uploadMs } of workers) {
    low = Math.min(low, waitMs + unitMs + uploadMs);
    power += 1 / unitMs;
  }
  let high = Math.max(low, units / power);
  const packer = openPacker(workers, free, units);
  let best: Packing;
  for (;;) {
    const packed = packer.packBy(high);
    if (packed) {
      best = packed;
      break;
    }
    low = high;
    high *= 1.5;
  }
  while (high > CLOSE_ENOUGH * low) {
    const middle = (low + high) / 2;
    const packed = packer.packBy(middle);
    if (packed) {
      packer.recycle(best);
      best = packed;
      high = middle;
    } else low = middle;
  }
  const costOf = ({ endsMs, nodes }: Packing) => endsMs + NODE_MS * nodes;
  for (const slack of SLACKS) {
    if ((slack - 1) * high > NODE_MS * best.nodes) break;
    const packed = packer.packBy(slack * high);
    if (!packed) continue;
    const isBetter = costOf(packed) < costOf(best);
    packer.recycle(isBetter ? best : packed);
    if (isBetter) best = packed;
  }
  return { levels: levelsOf(best, workers.length), endsMs: best.endsMs };
}

/** The largest level of a node of at most so many units. */
export function levelOf(units: number): number {
  return Math.max(0, 31 - Math.clz32(Math.max(1, units)));
}

/** Who is given which nodes: flat, because many packings are tried for one that is kept. */
interface Packing {
  endsMs: number;
  /** How many nodes there are; the worker and the level of each, a worker's largest first. */
  nodes: number;
  readonly workerOf: Int32Array;
  readonly levelOf: Uint8Array;
}

interface Packer {
  /** Nodes such that all are in by `endsMs`, the largest first to whoever can; undefined where that is too soon. */
  packBy(endsMs: number): Packing | undefined;
  /** A packing is not wanted any more: the next one takes its place. */
  recycle(packing: Packing): void;
}

/** Opens a packer of `free[k]` nodes of 2^k units, so many units in all. */
function openPacker(workers: readonly Worker[], free: readonly number[], units: number): Packer {
  const count = workers.length;
  /** From each worker's first node's begin to its last contribution's arrival. */
  const takes = new Float64Array(count);
  const given = new Int32Array(count);
  const open = new Int32Array(count);
  const spare: Packing[] = [];
  /** Units that a worker could compute before the nodes that it has, all uploads in time. */
  const roomOf = (i: number, endsMs: number) => {
    const { waitMs, unitMs, uploadMs, isSending } = workers[i];
    const uploads = given[i] + 1;
    const left = endsMs - waitMs;
    if (isSending && left < (uploads + 1) * uploadMs) return 0;
    return (left - Math.max(takes[i], uploads * uploadMs)) / unitMs + 1e-6;
  };

  return {
    recycle: (packing) => spare.push(packing),
    packBy(endsMs) {
      const packing = spare.pop() ?? {
        ...{ endsMs, nodes: 0 },
        workerOf: new Int32Array(units),
        levelOf: new Uint8Array(units),
      };
      packing.endsMs = endsMs;
      takes.fill(0);
      given.fill(0);
      for (let i = 0; i < count; i++) open[i] = i;
      const rest = [...free];
      let left = units;
      let nodes = 0;
      let openCount = count;
      for (let level = rest.length - 1; level >= 0 && left > 0; level--) {
        const size = 2 ** level;
        let stillOpen = 0;
        for (let at = 0; at < openCount; at++) {
          const i = open[at];
          let room = roomOf(i, endsMs);
          for (; room >= size && takeNode(rest, level); room = roomOf(i, endsMs)) {
            const { unitMs, uploadMs } = workers[i];
            given[i]++;
            takes[i] = size * unitMs + Math.max(takes[i], given[i] * uploadMs);
            packing.workerOf[nodes] = i;
            packing.levelOf[nodes] = level;
            nodes++;
            left -= size;
          }
          if (room >= 1) open[stillOpen++] = i;
        }
        openCount = stillOpen;
      }
      packing.nodes = nodes;
      if (left === 0) return packing;
      spare.push(packing);
      return undefined;
    },
  };
}

/** Each worker's levels, the smallest first. */
function levelsOf({ nodes, workerOf, levelOf }: Packing, workers: number): number[][] {
  const levels: number[][] = Array.from({ length: workers }, () => []);
  for (let at = nodes - 1; at >= 0; at--) levels[workerOf[at]].push(levelOf[at]);
  return levels;
}

/** Takes a node of a level, from the smallest larger one where there is none; false where all are smaller. */
function takeNode(free: number[], level: number): boolean {
  let from = level;
  while (from < free.length && free[from] === 0) from++;
  if (from === free.length) return false;
  free[from]--;
  for (let half = from - 1; half >= level; half--) free[half]++;
  return true;
}
