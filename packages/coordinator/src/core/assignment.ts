/**
 * The policy of who computes what: pure, so that it can be judged and replaced on its own. Free
 * units go out as nodes whose size follows each volunteer's share of the swarm's speed; when none
 * are free, idle volunteers back up the leases that would end last.
 */

import { childrenOf, type Node, unitRange } from "@swarmvit/shared/tree";
import type { FreeNodes } from "./free-nodes.ts";

/** A volunteer that may be given work now. */
export interface Candidate {
  readonly id: string;
  /** Cost a millisecond; absent: not measured yet. */
  readonly speed?: number;
  /** Cost of the leases it holds. */
  readonly backlog: number;
  /** Leases it holds, and wants to hold at most. */
  readonly held: number;
  readonly want: number;
  /** Its leases keep coming to nothing: it comes last, and gets one unit at a time. */
  readonly doubtful: boolean;
}

/** A lease that is being computed. */
export interface Outstanding {
  readonly volunteer: string;
  readonly node: Node;
  readonly cost: number;
  readonly expectedAt: number;
  /** Past its time, or its volunteer is gone. */
  readonly late: boolean;
}

export interface Grant {
  readonly volunteer: string;
  readonly node: Node;
}

/** What the policy must know about the work. */
export interface Workload {
  readonly unitCount: number;
  /** Largest level that a lease may have: 0 for evaluations. */
  readonly maxLevel: number;
  cost(unit: number): number;
  /** Memory, and whom a unit had better not go to. */
  suits(volunteer: string, node: Node): boolean;
}

/** Hands out free units until nobody has room or reason for more. */
export function assignFree(
  work: Workload,
  free: FreeNodes,
  freeCost: number,
  unitCost: number,
  candidates: readonly Candidate[],
): Grant[] {
  const grants: Grant[] = [];
  const totalSpeed = candidates.reduce((sum, at) => sum + trusted(at), 0);
  const totalCost = candidates.reduce((sum, { backlog }) => sum + backlog, freeCost);
  // Whoever runs dry first chooses first; newcomers have no backlog and get one unit to be measured.
  const queue = candidates
    .filter(({ held, want }) => held < want)
    .map((candidate) => ({ ...candidate }))
    .sort(
      (a, b) =>
        Number(a.doubtful) - Number(b.doubtful) ||
        drained(a) - drained(b) ||
        (b.speed ?? 0) - (a.speed ?? 0),
    );
  for (let given = true; given && !free.isEmpty(); ) {
    given = false;
    for (const candidate of queue) {
      const { id, held, want, backlog } = candidate;
      const speed = trusted(candidate);
      if (held >= want) continue;
      const share = speed === 0 ? 0 : (totalCost * speed) / totalSpeed - backlog;
      // An idle volunteer always gets one; more only if its share asks for it.
      if (held > 0 && share < 0.5 * unitCost) continue;
      const level = Math.floor(Math.log2(Math.max(1, share / unitCost)));
      const node = free.take(Math.min(level, work.maxLevel), (at) => work.suits(id, at));
      if (!node) continue;
      grants.push({ volunteer: id, node });
      candidate.held++;
      candidate.backlog += costOf(work, node);
      given = true;
    }
  }
  return grants;
}

/**
 * Gives idle volunteers the nodes of the slowest leases again, whole or split, where that is likely
 * to end the step sooner. `claims` counts the leases on a unit; two are enough.
 */
export function assignBackups(
  work: Workload,
  outstanding: readonly Outstanding[],
  claims: (unit: number) => number,
  candidates: readonly Candidate[],
  now: number,
): Grant[] {
  const grants: Grant[] = [];
  const taken = new Set<number>();
  const idle = candidates
    .filter(({ held, want, doubtful }) => held === 0 && want > 0 && !doubtful)
    .sort((a, b) => (b.speed ?? 0) - (a.speed ?? 0));
  const isHelpable = ({ node }: Outstanding) => {
    const { first, end } = unitRange(node, work.unitCount);
    for (let unit = first; unit < end; unit++) if (claims(unit) < 2) return true;
    return false;
  };
  const slowest = outstanding
    .filter(isHelpable)
    .sort((a, b) => Number(b.late) - Number(a.late) || b.expectedAt - a.expectedAt);
  const isSingle = (node: Node) => {
    const { first, end } = unitRange(node, work.unitCount);
    for (let unit = first; unit < end; unit++)
      if (claims(unit) > 1 || taken.has(unit)) return false;
    return true;
  };
  const find = (node: Node, level: number, candidate: Candidate): Node | undefined => {
    if (node.level <= level && isSingle(node) && work.suits(candidate.id, node)) return node;
    const children = childrenOf(node, work.unitCount);
    if (!children) return undefined;
    return (
      find(children.left, level, candidate) ??
      (children.right && find(children.right, level, candidate))
    );
  };
  idle.forEach((candidate, position) => {
    const helpers = idle.length - position;
    for (const lease of slowest) {
      // The slowest come first: if not even one unit of this would be in sooner, none of the rest.
      if (!lease.late && now + 1.25 * unitDuration(work, lease, candidate) >= lease.expectedAt)
        break;
      if (lease.volunteer === candidate.id) continue;
      // Several helpers share a large node; one who is not measured takes a single unit.
      const split = helpers > 1 ? 1 : 0;
      const level = candidate.speed === undefined ? 0 : Math.max(0, lease.node.level - split);
      const node = find(lease.node, level, candidate);
      if (!node) continue;
      const duration = candidate.speed === undefined ? 0 : costOf(work, node) / candidate.speed;
      const worthwhile = lease.late || (duration > 0 && now + 1.25 * duration < lease.expectedAt);
      if (!worthwhile) continue;
      const { first, end } = unitRange(node, work.unitCount);
      for (let unit = first; unit < end; unit++) taken.add(unit);
      grants.push({ volunteer: candidate.id, node });
      return;
    }
  });
  return grants;
}

/** The speed that shares go by: none before it is measured, or while it is in doubt. */
function trusted({ speed = 0, doubtful }: Candidate): number {
  return doubtful ? 0 : speed;
}

function drained({ backlog, speed }: Candidate): number {
  return speed === undefined || speed === 0 ? backlog : backlog / speed;
}

function unitDuration(work: Workload, { node }: Outstanding, { speed }: Candidate): number {
  if (!speed) return Number.POSITIVE_INFINITY;
  return work.cost(unitRange(node, work.unitCount).first) / speed;
}

function costOf(work: Workload, node: Node): number {
  const { first, end } = unitRange(node, work.unitCount);
  let cost = 0;
  for (let unit = first; unit < end; unit++) cost += work.cost(unit);
  return cost;
}
