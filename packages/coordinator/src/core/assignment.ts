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
  let best = packBy(workers, free, high);
  while (!best) {
    low = high;
    high *= 1.5;
    best = packBy(workers, free, high);
  }
  while (high > CLOSE_ENOUGH * low) {
    const middle = (low + high) / 2;
    const packed = packBy(workers, free, middle);
    if (packed) best = packed;
    if (packed) high = middle;
    else low = middle;
  }
  const costOf = ({ endsMs, nodes }: Packed) => endsMs + NODE_MS * nodes;
  for (const slack of SLACKS) {
    if ((slack - 1) * high > NODE_MS * best.nodes) break;
    const packed = packBy(workers, free, slack * high);
    if (packed && costOf(packed) < costOf(best)) best = packed;
  }
  return best;
}

/** The largest level of a node of at most so many units. */
export function levelOf(units: number): number {
  return Math.max(0, 31 - Math.clz32(Math.max(1, units)));
}

interface Packed extends Shares {
  /** How many there are. */
  readonly nodes: number;
}

/** Nodes such that all are in by `endsMs`, the largest first to whoever can; undefined where that is too soon. */
function packBy(
  workers: readonly Worker[],
  whole: readonly number[],
  endsMs: number,
): Packed | undefined {
  const free = [...whole];
  let left = whole.reduce((sum, count, level) => sum + count * 2 ** level, 0);
  const levels: number[][] = workers.map(() => []);
  /** From its first node's begin to its last contribution's arrival. */
  const takes = new Float64Array(workers.length);
  /** Units that a worker could compute before the nodes that it has, all uploads in time. */
  const roomOf = (i: number) => {
    const { waitMs, unitMs, uploadMs, isSending } = workers[i];
    const uploads = levels[i].length + 1;
    const spare = endsMs - waitMs;
    if (isSending && spare < (uploads + 1) * uploadMs) return 0;
    return (spare - Math.max(takes[i], uploads * uploadMs)) / unitMs + 1e-6;
  };
  let open = workers.map((_, i) => i);
  let nodes = 0;
  for (let level = whole.length - 1; level >= 0 && left > 0; level--) {
    const size = 2 ** level;
    const stillOpen: number[] = [];
    for (const i of open) {
      let room = roomOf(i);
      for (; room >= size && takeNode(free, level); room = roomOf(i)) {
        const { unitMs, uploadMs } = workers[i];
        takes[i] = size * unitMs + Math.max(takes[i], (levels[i].length + 1) * uploadMs);
        levels[i].push(level);
        left -= size;
        nodes++;
      }
      if (room >= 1) stillOpen.push(i);
    }
    open = stillOpen;
  }
  if (left > 0) return undefined;
  for (const list of levels) list.reverse();
  return { levels, endsMs, nodes };
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
