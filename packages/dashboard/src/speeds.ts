/** The recent speed of each volunteer, for the sparklines: sampled here, since states carry none. */

import type { VolunteerRow } from "@swarmvit/shared/run";

export interface Speeds {
  /** Unix milliseconds of the newest sample. */
  readonly time: number;
  /** Volunteer id → images a second, oldest first, at most `SPEED_SAMPLES`. */
  readonly rows: ReadonlyMap<string, readonly number[]>;
}

export const SPEED_SAMPLES = 40;
const SAMPLE_MS = 1000;

/** Adds one sample of every volunteer present, at most once a second; those who left are dropped. */
export function extendSpeeds(
  speeds: Speeds,
  volunteers: readonly VolunteerRow[],
  now: number,
): Speeds {
  if (now - speeds.time < SAMPLE_MS) return speeds;
  const rows = new Map<string, readonly number[]>();
  for (const row of volunteers)
    rows.set(
      row.id,
      [...(speeds.rows.get(row.id) ?? []), row.connected ? row.imagesPerSecond : 0].slice(
        -SPEED_SAMPLES,
      ),
    );
  return { time: now, rows };
}
