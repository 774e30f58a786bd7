/** Turns the policy's decisions into leases, and takes back those past their deadline. */

import type { Unit } from "@swarmvit/shared/planner";
import { unitRange } from "@swarmvit/shared/tree";
import { assignBackups, assignFree, type Candidate, type Workload } from "./assignment.ts";
import { openFreeNodes } from "./free-nodes.ts";
import { backlogOf, grantLease } from "./granting.ts";
import { boundSpeed, isPromising, rest, type Volunteer } from "./roster.ts";
import { emit, record, type SessionState } from "./state.ts";
import { costOfUnit, isUnitDone, type Work, wantedAnswers } from "./work.ts";

/** Leases what is free to whoever has room; what nobody gets, or comes too late, is backed up by the idle. */
export function issueLeases(state: SessionState, work: Work): void {
  state.unfit = undefined;
  state.issueWanted = false;
  const available = state.roster.available();
  const load = workloadOf(state, work, available);
  issueFree(state, work, load, available);
  issueBackups(state, work, load, available);
}

function issueFree(
  state: SessionState,
  work: Work,
  load: Workload,
  available: readonly Volunteer[],
): void {
  const candidates = candidatesOf(state, available);
  if (!candidates.some(({ held, want }) => held < want)) return;
  const isFree = (unit: number) =>
    state.book.claims(unit) < wantedAnswers(work, unit, available.length);
  let freeCost = 0;
  let totalCost = 0;
  for (const unit of work.units) {
    const cost = costOfUnit(unit);
    totalCost += cost;
    if (isFree(unit.index)) freeCost += cost;
  }
  if (freeCost === 0) return;
  const free = openFreeNodes(work.units.length, isFree, work.poison.isAlone);
  const unitCost = totalCost / work.units.length;
  const grants = assignFree(load, free, freeCost, unitCost, candidates);
  for (const { volunteer, node } of grants) grantLease(state, work, volunteer, node);
  if (grants.length === 0) state.unfit = whyUnfit(state, work, available, isFree);
}

function issueBackups(
  state: SessionState,
  work: Work,
  load: Workload,
  available: readonly Volunteer[],
): void {
  const candidates = candidatesOf(state, available).filter(
    ({ held, doubtful }) => held === 0 && !doubtful,
  );
  if (candidates.length === 0) return;
  const outstanding = [...state.book.standing()]
    .filter(({ state: at, expired }) => at === "open" && !expired)
    .map(({ volunteer, node, cost, expectedAt, lateAt }) => ({
      volunteer,
      node,
      cost,
      expectedAt,
      late: lateAt <= state.now,
    }));
  const grants = assignBackups(load, outstanding, state.book.claims, candidates, state.now);
  for (const { volunteer, node } of grants) grantLease(state, work, volunteer, node);
}

/** Who may be given work now, those whose leases keep coming to nothing last. */
function candidatesOf(state: SessionState, available: readonly Volunteer[]): Candidate[] {
  return available
    .filter((volunteer) => volunteer.restUntil <= state.now)
    .map((volunteer) => {
      const { id, speed, want } = volunteer;
      return { id, speed, want, doubtful: !isPromising(volunteer), ...backlogOf(state, id) };
    });
}

/** Leases past their deadline: others may be given the nodes; a late answer still counts if it is the first. */
export function expireLeases(state: SessionState): void {
  if (state.now < state.nextDeadline) return;
  state.nextDeadline = Number.POSITIVE_INFINITY;
  for (const entry of state.book.standing()) {
    if (entry.state !== "open" || entry.expired) continue;
    if (entry.deadlineAt > state.now) {
      state.nextDeadline = Math.min(state.nextDeadline, entry.deadlineAt);
      continue;
    }
    state.book.expire(entry);
    state.work?.poison.avoid(entry.first, entry.end, entry.volunteer);
    const volunteer = state.roster.get(entry.volunteer);
    if (!volunteer) continue;
    if (!volunteer.connected) emit(state, { type: "drop-upload", lease: entry.id.lease });
    volunteer.expired++;
    boundSpeed(volunteer, entry.cost, state.now - entry.issuedAt);
    rest(volunteer, state.now, 5000, true);
    record(state, {
      kind: "worker",
      time: state.now,
      step: state.step,
      volunteer: volunteer.id,
      name: volunteer.name,
      what: "expired",
    });
  }
}

/** True when nobody else who is of any use has been spared this unit. */
export function isOnlyHope(
  state: SessionState,
  work: Work,
  unit: number,
  volunteer: string,
): boolean {
  const avoided = work.poison.avoided(unit);
  return state.roster
    .available()
    .every((other) => other.id === volunteer || avoided?.has(other.id) || !isPromising(other));
}

function workloadOf(state: SessionState, work: Work, available: readonly Volunteer[]): Workload {
  const suitsUnit = (volunteer: Volunteer, unit: Unit) => {
    if (!fits(state, work, volunteer, unit)) return false;
    const size = sizeKey(unit);
    const avoided = work.poison.avoided(unit.index);
    if (avoided?.has(volunteer.id) || volunteer.tooLarge.has(size))
      return !available.some(
        (other) =>
          isPromising(other) &&
          !avoided?.has(other.id) &&
          !other.tooLarge.has(size) &&
          fits(state, work, other, unit),
      );
    return true;
  };
  return {
    unitCount: work.units.length,
    maxLevel: work.kind === "gradient" ? Number.POSITIVE_INFINITY : 0,
    cost: (unit) => costOfUnit(work.units[unit]),
    suits(id, node) {
      const volunteer = state.roster.get(id);
      if (!volunteer) return false;
      const { first, end } = unitRange(node, work.units.length);
      for (let unit = first; unit < end; unit++)
        if (!suitsUnit(volunteer, work.units[unit])) return false;
      // A second opinion on an evaluation must be somebody else's.
      return work.kind === "gradient" || !hasHandled(state, work, id, first);
    },
  };
}

function hasHandled(state: SessionState, work: Work, volunteer: string, unit: number): boolean {
  return (
    (work.kind === "evaluation" && work.answers[unit].some((at) => at.volunteer === volunteer)) ||
    state.book.of(volunteer).some(({ first, expired }) => first === unit && !expired)
  );
}

function fits(state: SessionState, work: Work, volunteer: Volunteer, unit: Unit): boolean {
  const { unitBytes } = state.options;
  const { memoryBytes } = volunteer.device;
  if (!unitBytes || memoryBytes === 0) return true; // 0: the device does not know
  return unitBytes(unit.height, unit.width, unit.samples.length, work.kind) <= memoryBytes;
}

/** A size as the key of `tooLarge`. */
export function sizeKey(unit: Unit): string {
  return `${unit.height}x${unit.width}x${unit.samples.length}`;
}

function whyUnfit(
  state: SessionState,
  work: Work,
  available: readonly Volunteer[],
  isFree: (unit: number) => boolean,
): string | undefined {
  const stuck = work.units.find(
    (unit) =>
      !isUnitDone(work, unit.index) &&
      isFree(unit.index) &&
      !available.some((volunteer) => fits(state, work, volunteer, unit)),
  );
  return (
    stuck &&
    `no device here has the memory for ${stuck.samples.length} images of ${stuck.height}x${stuck.width}: open the link on a larger one`
  );
}
