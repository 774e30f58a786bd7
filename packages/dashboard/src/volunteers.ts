/** The order in which volunteers are shown. */

import type { VolunteerRow } from "@swarmvit/shared/run";

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

function compare(a: VolunteerRow, b: VolunteerRow, key: SortKey): number {
  const left = a[key];
  const right = b[key];
  const order =
    typeof left === "number" && typeof right === "number"
      ? right - left
      : String(left).localeCompare(String(right));
  return order || a.joinedAt - b.joinedAt;
}
