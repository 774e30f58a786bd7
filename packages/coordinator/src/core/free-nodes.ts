/**
 * The units that nobody works on, kept as the fewest whole tree nodes, from which nodes of a wanted
 * size are taken (as a buddy allocator does).
 */

import { childrenOf, type Node, parentOf, rootOf, unitRange } from "@swarmvit/shared/tree";

export interface FreeNodes {
  /** Takes a node of at most this level that suits: the largest there is, else nothing. */
  take(level: number, suits: (node: Node) => boolean): Node | undefined;
  isEmpty(): boolean;
}

/**
 * Groups the free units of U into maximal nodes. A unit that is `alone` is only ever given by
 * itself. O(U).
 */
export function openFreeNodes(
  unitCount: number,
  isFree: (unit: number) => boolean,
  isAlone: (unit: number) => boolean,
): FreeNodes {
  const top = rootOf(unitCount).level;
  const byLevel: Node[][] = Array.from({ length: top + 1 }, () => []);
  for (let unit = 0; unit < unitCount; ) {
    if (!isFree(unit)) {
      unit++;
      continue;
    }
    if (isAlone(unit)) {
      byLevel[0].push({ level: 0, index: unit++ });
      continue;
    }
    let end = unit + 1;
    while (end < unitCount && isFree(end) && !isAlone(end)) end++;
    while (unit < end) {
      const node = largestAt(unit, end, unitCount);
      byLevel[node.level].push(node);
      unit = unitRange(node, unitCount).end;
    }
  }

  /** Removes `node` from the free ancestor at (level, position); its other parts stay free. */
  const split = (level: number, position: number, node: Node) => {
    const [ancestor] = byLevel[level].splice(position, 1);
    for (let at = node; at.level < ancestor.level; at = parentOf(at)) {
      const { left, right } = childrenOf(parentOf(at), unitCount) ?? { left: at };
      const sibling = left.index === at.index ? right : left;
      if (sibling) byLevel[sibling.level].push(sibling);
    }
  };

  return {
    take(level, suits) {
      for (let wanted = Math.min(level, top); wanted >= 0; wanted--)
        for (let from = wanted; from <= top; from++)
          for (let position = 0; position < byLevel[from].length; position++) {
            const block = byLevel[from][position];
            const width = 2 ** (from - wanted);
            for (let i = 0; i < width; i++) {
              const node = { level: wanted, index: block.index * width + i };
              const { first, end } = unitRange(node, unitCount);
              if (first >= end) break;
              if (!suits(node)) continue;
              split(from, position, node);
              return node;
            }
          }
      return undefined;
    },
    isEmpty: () => byLevel.every((list) => list.length === 0),
  };
}

/** The largest node that starts at `unit` and ends by `end`, never one that is only its left child. */
function largestAt(unit: number, end: number, unitCount: number): Node {
  let node: Node = { level: 0, index: unit };
  while (node.index % 2 === 0) {
    const parent = parentOf(node);
    const range = unitRange(parent, unitCount);
    if (range.end > end || range.end === unitRange(node, unitCount).end) break;
    node = parent;
  }
  return node;
}
