/**
 * The units that nobody works on, kept as the fewest whole tree nodes, from which nodes of a wanted
 * size are taken (as a buddy allocator does). Kept up to date unit by unit.
 */

import { childrenOf, type Node, parentOf, rootOf, unitRange } from "@swarmvit/shared/tree";

export interface FreeNodes {
  /** Free units. */
  readonly count: number;
  has(unit: number): boolean;
  /** Makes a unit free or not. A unit that is `alone` is only ever given by itself. */
  set(unit: number, isFree: boolean, isAlone: boolean): void;
  /**
   * A node of at most this level that suits, the largest there is and of those the one nearest to
   * the unit `near`. It stays free until its units are set otherwise.
   */
  find(level: number, near: number, suits: (node: Node) => boolean): Node | undefined;
}

/** Opens the free nodes of U units, none of them free yet. */
export function openFreeNodes(unitCount: number): FreeNodes {
  const top = rootOf(unitCount).level;
  /** Maximal free nodes: the indices at each level. A node that is only its left child is that child. */
  const blocks: Set<number>[] = Array.from({ length: top + 1 }, () => new Set());
  const free = new Uint8Array(unitCount);
  const alone = new Set<number>();
  let count = 0;

  const isEmpty = ({ level, index }: Node) => index * 2 ** level >= unitCount;
  /** The smallest node with the same units. */
  const canonical = (node: Node): Node => {
    let at = node;
    while (at.level > 0) {
      const { left, right } = childrenOf(at, unitCount) ?? { left: at };
      if (right) break;
      at = left;
    }
    return at;
  };
  const siblingOf = ({ level, index }: Node): Node => ({ level, index: index ^ 1 });

  const add = (unit: number) => {
    let block: Node = { level: 0, index: unit };
    for (let at = block; at.level < top; ) {
      const sibling = siblingOf(at);
      at = parentOf(at);
      if (isEmpty(sibling)) continue;
      const half = canonical(sibling);
      if (!blocks[half.level].delete(half.index)) break;
      block = at;
    }
    blocks[block.level].add(block.index);
  };
  const remove = (unit: number) => {
    let level = 0;
    while (!blocks[level].has(Math.floor(unit / 2 ** level))) level++;
    blocks[level].delete(Math.floor(unit / 2 ** level));
    for (let at: Node = { level: 0, index: unit }; at.level < level; at = parentOf(at)) {
      const sibling = siblingOf(at);
      if (isEmpty(sibling)) continue;
      const half = canonical(sibling);
      blocks[half.level].add(half.index);
    }
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
    const end = Math.min(first + width, Math.ceil(unitCount / 2 ** level));
    const start = Math.max(first, Math.min(end - 1, Math.floor(near / 2 ** level)));
    for (let step = 0; step < width; step++)
      for (const index of step === 0 ? [start] : [start - step, start + step]) {
        if (index < first || index >= end) continue;
        const node = canonical({ level, index });
        if (suits(node)) return node;
      }
    return undefined;
  };

  return {
    get count() {
      return count;
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
          const distance = (block: number) => {
            const { first, end } = unitRange({ level: from, index: block }, unitCount);
            return near < first ? first - near : near >= end ? near - end + 1 : 0;
          };
          let best: number | undefined;
          for (const block of blocks[from])
            if (best === undefined || distance(block) < distance(best)) best = block;
          if (best === undefined) continue;
          const node = within(from, best, wanted, near, suits);
          if (node) return node;
          for (const block of [...blocks[from]].sort((a, b) => distance(a) - distance(b))) {
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
