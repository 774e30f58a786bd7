/** Which units may go to whom: memory, what failed on a device before, and second opinions. */

import type { Unit } from "@swarmvit/shared/planner";
import { type Node, unitRange } from "@swarmvit/shared/tree";
import { isPromising, type Volunteer } from "./roster.ts";
import type { SessionState } from "./state.ts";
import { isUnitDone, type Work } from "./work.ts";

/** Memory, and whom a unit had better not go to. */
export function suits(state: SessionState, work: Work, volunteer: Volunteer, node: Node): boolean {
  if (volunteer.fitsWork !== work) {
    volunteer.fitsWork = work;
    volunteer.fitsAll = work.sizes.every(({ example }) => fits(state, work, volunteer, example));
  }
  if (
    work.kind === "gradient" &&
    volunteer.fitsAll &&
    volunteer.tooLarge.size === 0 &&
    work.poison.isClean()
  )
    return true;
  const { first, end } = unitRange(node, work.units.length);
  for (let unit = first; unit < end; unit++)
    if (!suitsUnit(state, work, volunteer, work.units[unit])) return false;
  // A second opinion on an evaluation must be somebody else's.
  return work.kind === "gradient" || !hasHandled(state, work, volunteer.id, first);
}

/** Says which free unit nobody here has the memory for. */
export function whyUnfit(state: SessionState, work: Work): string | undefined {
  const { unitBytes } = state.options;
  if (!unitBytes || state.book.standing().size > 0) return undefined;
  const available = [...state.roster.available()];
  const stuck = work.units.find(
    (unit) =>
      !isUnitDone(work, unit.index) &&
      work.free.has(unit.index) &&
      !available.some((volunteer) => fits(state, work, volunteer, unit)),
  );
  return (
    stuck &&
    `no device here has the memory for ${stuck.samples.length} images of ${stuck.height}x${stuck.width}: open the link on a larger one`
  );
}

/** True when nobody else who is of any use has been spared this unit. */
export function isOnlyHope(
  state: SessionState,
  work: Work,
  unit: number,
  volunteer: string,
): boolean {
  const avoided = work.poison.avoided(unit);
  for (const other of state.roster.available())
    if (other.id !== volunteer && !avoided?.has(other.id) && isPromising(other)) return false;
  return true;
}

/** A size as the key of `tooLarge`. */
export function sizeKey(unit: Unit): string {
  return `${unit.height}x${unit.width}x${unit.samples.length}`;
}

function suitsUnit(state: SessionState, work: Work, volunteer: Volunteer, unit: Unit): boolean {
  if (!fits(state, work, volunteer, unit)) return false;
  const avoided = work.poison.avoided(unit.index);
  const isSpared = (other: Volunteer) =>
    avoided?.has(other.id) || (other.tooLarge.size > 0 && other.tooLarge.has(sizeKey(unit)));
  if (!isSpared(volunteer)) return true;
  for (const other of state.roster.available())
    if (isPromising(other) && !isSpared(other) && fits(state, work, other, unit)) return false;
  return true;
}

function hasHandled(state: SessionState, work: Work, volunteer: string, unit: number): boolean {
  return (
    (work.kind === "evaluation" && work.answers[unit].some((at) => at.volunteer === volunteer)) ||
    state.book.at(unit).some((entry) => entry.volunteer === volunteer && !entry.expired)
  );
}

function fits(state: SessionState, work: Work, volunteer: Volunteer, unit: Unit): boolean {
  const { unitBytes } = state.options;
  const { memoryBytes } = volunteer.device;
  if (!unitBytes || memoryBytes === 0) return true; // 0: the device does not know
  return unitBytes(unit.height, unit.width, unit.samples.length, work.kind) <= memoryBytes;
}
