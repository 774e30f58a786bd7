/** What a session is opened with: the run, its plan and schedule, limits, and the injected tools. */

import type { ContributionKind } from "@swarmvit/shared/frame";
import type { Planner } from "@swarmvit/shared/planner";
import type { RunInfo, ShardRef } from "@swarmvit/shared/protocol";
import type { MetricRecord, RunState } from "@swarmvit/shared/run";
import type { Schedule } from "@swarmvit/shared/schedule";
import type { CoreSnapshot, CoreTools, PublishedWeights } from "./messages.ts";

/** Steps between checkpoints: what a restart replays at most, which takes a tenth of a second a step of S. */
export const CHECKPOINT_EVERY = 20;

export interface SessionOptions {
  /** `equal`: everybody is given as many units, whatever its speed, and nothing twice; only to compare with. */
  readonly split?: "equal";
  /** Told to every volunteer; its id, codec and names are used here too. */
  readonly run: RunInfo;
  readonly planner: Planner;
  readonly schedule: Schedule;
  readonly epochs: number;
  /** Volunteers to wait for before the first step of this session. */
  readonly minWorkers: number;
  /** First deadline of a lease, before a volunteer's speed is known. */
  readonly leaseSeconds: number;
  /** Stop after this many steps in all. */
  readonly maxSteps?: number;
  /** Steps between evaluations; absent: after every epoch. Always at the end. */
  readonly evalEvery?: number;
  /** Steps between checkpoints. */
  readonly checkpointEvery: number;
  /** Volunteers connected at once: 1000 unless told. */
  readonly maxVolunteers?: number;
  /** Shards of the training split, ascending by `first`. */
  readonly shards: readonly ShardRef[];
  /** The validation split, evaluated at one size; no shards: no evaluation. */
  readonly validation: {
    readonly shards: readonly ShardRef[];
    readonly height: number;
    readonly width: number;
    readonly unitSamples: number;
  };
  /** Exact length of a frame: `frameBytes(kind, codec, table)`. */
  frameBytes(kind: ContributionKind): number;
  /** Memory a unit needs on a device; absent: everything fits. */
  unitBytes?(height: number, width: number, batch: number, kind: ContributionKind): number;
  /** The initial weights of a new run, or what the newest checkpoint holds. */
  readonly start: PublishedWeights | CoreSnapshot;
  /** Greater than at any earlier start of the run (default: the snapshot's + 1), so that old leases are void. */
  readonly fence?: number;
  readonly tools: CoreTools;
  /** The effective configuration, for pages. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Unix milliseconds. */
  readonly startedAt: number;
  /** Records of earlier sessions, oldest first, for the pages' curves. */
  readonly history?: readonly MetricRecord[];
  readonly checkpoints?: RunState["checkpoints"];
}
