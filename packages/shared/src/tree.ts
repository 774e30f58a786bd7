/**
 * The fixed binary tree over a step's units (DESIGN section 1, node): node (k, i) is the units
 * [i·2^k, (i+1)·2^k), cut at U. Sums are always taken along it, whoever computed the parts.
 */

export interface Node {
  readonly level: number;
  readonly index: number;
}

/** The node that holds all U units. */
export function rootOf(unitCount: number): Node {
  let level = 0;
  while (2 ** level < unitCount) level++;
  return { level, index: 0 };
}

/** The units of a node: [first, end). Empty when the node lies beyond U. */
export function unitRange(node: Node, unitCount: number): { first: number; end: number } {
  const width = 2 ** node.level;
  const first = Math.min(node.index * width, unitCount);
  return { first, end: Math.min(first + width, unitCount) };
}

/** A node's two halves; the right one is absent when it lies beyond U (the node is then its left half). */
export function childrenOf(
  node: Node,
  unitCount: number,
): { left: Node; right?: Node } | undefined {
  if (node.level === 0) return undefined;
  const left = { level: node.level - 1, index: node.index * 2 };
  const right = { level: node.level - 1, index: node.index * 2 + 1 };
  const { first, end } = unitRange(right, unitCount);
  return first < end ? { left, right } : { left };
}

export function parentOf(node: Node): Node {
  return { level: node.level + 1, index: Math.floor(node.index / 2) };
}

/** True when a is b or an ancestor of b. */
export function contains(a: Node, b: Node): boolean {
  return a.level >= b.level && Math.floor(b.index / 2 ** (a.level - b.level)) === a.index;
}

/** A node as a map key: "level:index". */
export function nodeKey(node: Node): string {
  return `${node.level}:${node.index}`;
}
