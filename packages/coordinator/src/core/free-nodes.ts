/**
 * The units that nobody works on, kept as the fewest whole tree nodes (2^k units each, so none is cut
 * at U), from which nodes of a wanted size are taken as a buddy allocator does: from the smallest that
 * is large enough. Kept up to date unit by unit.
 */

import type { Node } from "@swarmvit/shared/tree";
import { levelOf } from "./assignment.ts";
import { type IndexSet, openIndexSet } from "./index-set.ts";

export interface FreeNodes {
  /** Free units. */
  readonly count: number;
  /** How many nodes of 2^k units there are at least, by k. */
  counts(): number[];
  has(unit: number): boolean;
  /** Makes a unit free or not. A unit that is `alone` is only ever given by itself. */
  set(unit: number, isFree: boolean, isAlone: boolean): void;
  /**
   * A node of at most this level that suits, the largest there is and of those the one nearest to
   * the unit `near`; all are whole. It stays free until its units are set otherwise.
   */
  find(level: number, near: number, suits: (node: Node) => boolean): Node | undefined;
}

/** Opens the free nodes of U units, none of them free yet. */
export function openFreeNodes(unitCount: number): FreeNodes {
  const top = levelOf(unitCount);
  /** Maximal free nodes: the indices at each level. */
  const blocks = Array.from({ length: top + 1 }, (_, level) =>
    openIndexSet(Math.ceil(unitCount / 2 ** level) + 1),
  );
  const free = new Uint8Array(unitCount);
  const alone = new Set<number>();
  let count = 0;

  const isWhole = (level: number, index: number) => (index + 1) * 2 ** level <= unitCount;
  const add = (unit: number) => {
    let level = 0;
    let index = unit;
    while (isWhole(level + 1, index >> 1) && blocks[level].delete(index ^ 1)) {
      level++;
      index >>= 1;
    }
    blocks[level].add(index);
  };
  const remove = (unit: number) => {
    let level = 0;
    while (!blocks[level].delete(unit >> level)) level++;
    for (let half = level - 1; half >= 0; half--) blocks[half].add((unit >> half) ^ 1);
  };

  /** The node of a level inside a block that is nearest to a unit and suits. */
  const within = (
    from: number,
    block: number,
    level: number,
    near: number,
    suits: (node: Node) => boolean,
  ): Node | undefined => {
    const width = 2 ** (from - level);
    const first = block * width;
    const end = first + width;
    const start = Math.max(first, Math.min(end - 1, Math.floor(near / 2 ** level)));
    for (let step = 0; step < width; step++)
      for (const index of step === 0 ? [start] : [start - step, start + step]) {
        if (index < first || index >= end) continue;
        const node = { level, index };
        if (suits(node)) return node;
      }
    return undefined;
  };

  return {
    get count() {
      return count;
    },
    counts() {
      const counts = blocks.map(({ size }) => size);
      counts[0] += alone.size;
      return counts;
    },
    has: (unit) => free[unit] === 1,
    set(unit, isFree, isAlone) {
      const wasAlone = alone.has(unit);
      if ((free[unit] === 1) === isFree && (!isFree || wasAlone === isAlone)) return;
      if (free[unit] === 1) {
        if (wasAlone) alone.delete(unit);
        else remove(unit);
        count--;
      }
      free[unit] = isFree ? 1 : 0;
      if (!isFree) return;
      count++;
      if (isAlone) alone.add(unit);
      else add(unit);
    },
    find(level, near, suits) {
      if (count === 0) return undefined;
      for (let wanted = Math.min(level, top); wanted >= 0; wanted--) {
        for (let from = wanted; from <= top; from++) {
          const nearest = nearestTo(blocks[from], near >> from);
          if (nearest === undefined) continue;
          const node = within(from, nearest, wanted, near, suits);
          if (node) return node;
          for (const block of outwards(blocks[from], near >> from)) {
            const other = within(from, block, wanted, near, suits);
            if (other) return other;
          }
        }
        if (wanted === 0)
          for (const unit of alone)
            if (suits({ level: 0, index: unit })) return { level: 0, index: unit };
      }
      return undefined;
    },
  };
}

/** The block nearest to one, which may be it. */
function nearestTo(blocks: IndexSet, from: number): number | undefined {
  const above = blocks.firstFrom(from);
  const below = above === from ? undefined : blocks.lastBelow(from);
  if (above === undefined || below === undefined) return above ?? below;
  return above - from <= from - below ? above : below;
}

/** All blocks in the order of their distance from one. */
function* outwards(blocks: IndexSet, from: number): Iterable<number> {
  let above = blocks.firstFrom(from);
  let below = blocks.lastBelow(from);
  while (above !== undefined || below !== undefined)
    if (below === undefined || (above !== undefined && above - from <= from - below)) {
      yield above as number;
      above = blocks.firstFrom((above as number) + 1);
    } else {
      yield below;
      below = blocks.lastBelow(below);
    }
}
