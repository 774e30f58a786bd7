/** The order in which volunteers are shown, and how many of them a step has work for. */

import type { RunState, VolunteerRow } from "@swarmvit/shared/run";

export type SortKey =
  | "name"
  | "state"
  | "imagesPerSecond"
  | "samples"
  | "accepted"
  | "refused"
  | "expired"
  | "lastStep";

/**
 * Those who are here by `key` (text ascending, numbers descending), then at most `maxGone` of
 * those who left, by their last step; `hidden` counts the rest.
 */
export function rankVolunteers(
  rows: readonly VolunteerRow[],
  key: SortKey,
  maxGone: number,
): { shown: VolunteerRow[]; hidden: number } {
  const here = rows.filter((row) => row.connected).sort((a, b) => compare(a, b, key));
  const gone = rows
    .filter((row) => !row.connected)
    .sort((a, b) => b.lastStep - a.lastStep || b.joinedAt - a.joinedAt);
  return {
    shown: [...here, ...gone.slice(0, maxGone)],
    hidden: Math.max(0, gone.length - maxGone),
  };
}

/** Units that each volunteer should find in a step, so that the fast can take more than the slow. */
const UNITS_EACH = 2;

/**
 * Volunteers beyond the units of a step, who can only stand by: how many, of how many units, and the
 * `--batch-size` of a run that would have work for all. Undefined where each can have a unit.
 */
export function standingBy(
  rows: readonly VolunteerRow[],
  config: RunState["config"],
): { readonly spare: number; readonly units: number; readonly batchSize: number } | undefined {
  const ready = rows.filter((row) => row.connected && row.state !== "paused").length;
  const { "batch-size": batchSize, "unit-size": unitSize } = config;
  if (typeof batchSize !== "number" || typeof unitSize !== "number") return undefined;
  const units = Math.round(batchSize / unitSize);
  if (ready <= units) return undefined;
  return { spare: ready - units, units, batchSize: UNITS_EACH * ready * unitSize };
}

function compare(a: VolunteerRow, b: VolunteerRow, key: SortKey): number {
  const left = a[key];
  const right = b[key];
  const order =
    typeof left === "number" && typeof right === "number"
      ? right - left
      : String(left).localeCompare(String(right));
  return order || a.joinedAt - b.joinedAt;
}
