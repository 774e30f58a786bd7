/**
 * The end of a step: idle volunteers are given the nodes of the slowest leases too, whole or split,
 * where that is likely to end the step sooner. Whoever is first counts.
 */

import { childrenOf, type Node, unitRange } from "@swarmvit/shared/tree";
import { levelOf } from "./assignment.ts";
import { grantLease } from "./granting.ts";
import type { LeaseEntry } from "./leases.ts";
import { extraMsOf, isMeasured, unitMs } from "./pace.ts";
import { isPromising, startOf, type Volunteer } from "./roster.ts";
import type { SessionState } from "./state.ts";
import { isUnitDone, type Work } from "./work.ts";

/** A backup must be sure to come first: its own time counts for this much more. */
const MARGIN = 1.25;
const MOST_CLAIMS = 4;

/** Gives each of these volunteers that is idle a part of a slow lease, if that helps. */
export function backUp(
  state: SessionState,
  work: Work,
  asking: Iterable<Volunteer>,
  suits: (volunteer: Volunteer, node: Node) => boolean,
): void {
  const { book, now } = state;
  if (book.late().size === 0 && !(book.lastExpected() > now)) return;
  const idle = [...asking]
    .filter((at) => isPromising(at) && at.restUntil <= now && book.backlogOf(at.id).held === 0)
    .sort((a, b) => (a.pace.msPerPixel ?? 1e9) - (b.pace.msPerPixel ?? 1e9));
  idle.forEach((volunteer, position) => {
    help(state, work, volunteer, idle.length - position, (node) => suits(volunteer, node));
  });
}

function help(
  state: SessionState,
  work: Work,
  volunteer: Volunteer,
  helpers: number,
  suits: (node: Node) => boolean,
): void {
  const { book, now } = state;
  const own = isMeasured(volunteer.pace);
  const firstUnitMs = (entry: LeaseEntry) =>
    unitMs(volunteer.pace, work.sizes[work.sizeOf[entry.first]]) ?? Number.POSITIVE_INFINITY;
  const beginsAt = now + extraMsOf(volunteer.pace, startOf(state, volunteer));
  const tryOne = (entry: LeaseEntry, late: boolean): boolean => {
    if (entry.volunteer === volunteer.id) return false;
    const level = own ? levelOf((entry.end - entry.first) / helpers) : 0;
    const node = findNode(state, work, entry.node, Math.min(level, entry.node.level), late, suits);
    if (!node) return false;
    const { first, end } = unitRange(node, work.units.length);
    const endsAt = beginsAt + MARGIN * firstUnitMs(entry) * (end - first);
    if (!late && !(own && endsAt < entry.expectedAt)) return false;
    grantLease(state, work, volunteer.id, node);
    return true;
  };
  for (const entry of book.late()) if (tryOne(entry, true)) return;
  if (
    !own ||
    beginsAt + MARGIN * work.smallest * (volunteer.pace.msPerPixel ?? 0) >= book.lastExpected()
  )
    return;
  for (const entry of book.slowest()) {
    // The slowest come first: if not even one unit of this would be in sooner, none of the rest.
    if (beginsAt + MARGIN * firstUnitMs(entry) >= entry.expectedAt) return;
    if (tryOne(entry, false)) return;
  }
}

/** A node of this level or lower below `node` that only slow leases count on. */
function findNode(
  state: SessionState,
  work: Work,
  node: Node,
  level: number,
  late: boolean,
  suits: (node: Node) => boolean,
): Node | undefined {
  if (node.level <= level && isHelpable(state, work, node, late) && suits(node)) return node;
  const children = childrenOf(node, work.units.length);
  if (!children) return undefined;
  const { left, right } = children;
  return (
    findNode(state, work, left, level, late, suits) ??
    (right && findNode(state, work, right, level, late, suits))
  );
}

function isHelpable({ book }: SessionState, work: Work, node: Node, late: boolean): boolean {
  const { first, end } = unitRange(node, work.units.length);
  for (let unit = first; unit < end; unit++) {
    if (work.kind === "gradient" && isUnitDone(work, unit)) return false;
    if (!late) {
      if (book.claims(unit) !== 1) return false;
      continue;
    }
    const at = book.at(unit);
    const onTime = at.some(
      (entry) => entry.state === "uploaded" || (!entry.expired && !book.late().has(entry)),
    );
    if (onTime || at.length >= MOST_CLAIMS) return false;
  }
  return true;
}
