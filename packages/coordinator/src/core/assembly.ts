/**
 * How far a step's tree has been filled (DESIGN sections 1 and 2). A node is filled by its own
 * contribution or by both its children, whichever is complete first; the vectors stay in the shell,
 * here are only states and reports. One verification at a time is let through to a node, so a
 * node's slot in the shell never has two writers.
 */

import type { Report } from "@swarmvit/shared/frame";
import { childrenOf, type Node, parentOf, rootOf, unitRange } from "@swarmvit/shared/tree";

/** Work on vectors that follows from a node being filled. */
export type Join =
  | { readonly type: "add"; readonly node: Node; readonly left: Node; readonly right: Node }
  | { readonly type: "alias"; readonly node: Node; readonly child: Node };

export interface Assembly {
  readonly unitCount: number;
  readonly root: Node;
  /** True when the node's sum is decided: it or an ancestor is filled, or is being added. */
  isCovered(node: Node): boolean;
  isUnitDone(unit: number): boolean;
  /** Units that are covered. */
  doneUnits(): number;
  /** An upload for a node: verify it now, or after the one that is being verified. */
  offer(node: Node, lease: number): "verify" | "queued" | "covered";
  /** The node's verification failed or no longer counts: the next lease to verify, or what its children allow. */
  retract(node: Node): { readonly next?: number; readonly joins: readonly Join[] };
  /** The node's verification succeeded: fills it, unless it was covered meanwhile (`undefined`). */
  fill(node: Node, report: Report): readonly Join[] | undefined;
  /** An addition is done. */
  added(node: Node): readonly Join[];
  /** Leases whose upload waits behind another one at this node. */
  queuedAt(node: Node): readonly number[];
  /** The whole step's report once the root is filled. */
  rootReport(): Report | undefined;
}

/** Opens an empty tree over U units. */
export function openAssembly(unitCount: number): Assembly {
  const root = rootOf(unitCount);
  /** Nodes as numbers, the root 1 and the halves of n at 2n and 2n + 1: steps have thousands. */
  const nodeKey = ({ level, index }: Node) => 2 ** (root.level - level) + index;
  const states = new Map<number, "verifying" | "adding" | "filled">();
  const queues = new Map<number, number[]>();
  const reports = new Map<number, Report>();
  const done = new Uint8Array(unitCount);
  let doneCount = 0;

  const isCovered = (node: Node) => {
    for (let key = nodeKey(node); key >= 1; key >>= 1) {
      const state = states.get(key);
      if (state === "filled" || state === "adding") return true;
    }
    return false;
  };
  const markUnits = (node: Node) => {
    const { first, end } = unitRange(node, unitCount);
    for (let unit = first; unit < end; unit++) {
      if (done[unit] === 0) doneCount++;
      done[unit] = 1;
    }
  };
  /** Fills a node from its children if both are there. */
  const joinAt = (node: Node): Join[] => {
    if (states.has(nodeKey(node)) || isCovered(node)) return [];
    const children = childrenOf(node, unitCount);
    if (!children) return [];
    const { left, right } = children;
    const leftReport = reports.get(nodeKey(left));
    if (!leftReport || states.get(nodeKey(left)) !== "filled") return [];
    if (!right) {
      states.set(nodeKey(node), "filled");
      reports.set(nodeKey(node), leftReport);
      return [{ type: "alias", node, child: left }, ...joinAbove(node)];
    }
    const rightReport = reports.get(nodeKey(right));
    if (!rightReport || states.get(nodeKey(right)) !== "filled") return [];
    states.set(nodeKey(node), "adding");
    reports.set(nodeKey(node), sumOf(leftReport, rightReport));
    return [{ type: "add", node, left, right }];
  };
  const joinAbove = (node: Node): Join[] => (node.level < root.level ? joinAt(parentOf(node)) : []);

  return {
    unitCount,
    root,
    isCovered,
    isUnitDone: (unit) => done[unit] === 1,
    doneUnits: () => doneCount,
    offer(node, lease) {
      if (isCovered(node)) return "covered";
      const key = nodeKey(node);
      if (!states.has(key)) {
        states.set(key, "verifying");
        return "verify";
      }
      queues.set(key, [...(queues.get(key) ?? []), lease]);
      return "queued";
    },
    retract(node) {
      const key = nodeKey(node);
      if (states.get(key) !== "verifying") return { joins: [] };
      states.delete(key);
      const queue = queues.get(key) ?? [];
      if (!isCovered(node)) {
        const next = queue.shift();
        if (next !== undefined) {
          states.set(key, "verifying");
          return { next, joins: [] };
        }
      }
      return { joins: joinAt(node) };
    },
    fill(node, report) {
      const key = nodeKey(node);
      if (states.get(key) !== "verifying") return undefined;
      if (isCovered(node)) {
        states.delete(key);
        return undefined;
      }
      states.set(key, "filled");
      reports.set(key, report);
      markUnits(node);
      return joinAbove(node);
    },
    added(node) {
      states.set(nodeKey(node), "filled");
      return joinAbove(node);
    },
    queuedAt: (node) => queues.get(nodeKey(node)) ?? [],
    rootReport: () =>
      states.get(nodeKey(root)) === "filled" ? reports.get(nodeKey(root)) : undefined,
  };
}

function sumOf(left: Report, right: Report): Report {
  return {
    loss: left.loss + right.loss,
    top1: left.top1 + right.top1,
    top5: left.top5 + right.top5,
    computeMs: left.computeMs + right.computeMs,
  };
}
