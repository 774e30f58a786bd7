/** How often a checkpoint is written: the log behind it must be replayed before a restart is ready. */

import type { ParameterTable } from "@swarmvit/shared/parameters";

const MOST_STEPS = 20;
/** Of the five seconds that a restart may take; the rest is for the start, a checkpoint, and other work on the machine. */
const REPLAY_MS = 1500;
/** Replaying one step of S in `int8` took 183 ms (`bench/commit-log.ts`); the other codecs take less. */
const REPLAY_MS_PER_MILLION = 33;

/** Steps between two checkpoints: 20, fewer where replaying as many would take too long. */
export function checkpointEvery({
  parameterCount,
}: Pick<ParameterTable, "parameterCount">): number {
  const stepMs = (parameterCount / 1e6) * REPLAY_MS_PER_MILLION;
  return Math.min(MOST_STEPS, Math.max(1, Math.floor(REPLAY_MS / stepMs)));
}
