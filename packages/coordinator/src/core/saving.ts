/**
 * Saving: checkpoints when they are due, and what the disk refuses. A commit or checkpoint that
 * found no room stops training, is tried again every few seconds, and training goes on by itself.
 */

import { emit, type RefusedByDisk, recordEvent, type SessionState, snapshotOf } from "./state.ts";
import { askCommit, closeWork } from "./training.ts";

const RETRY_MS = 3000;

/** Asks for the checkpoint that is due, one at a time; the last one when the run ends. */
export function saveWhenDue(state: SessionState): void {
  const { refusedByDisk: refused } = state;
  const committing = state.work?.kind === "gradient" && state.work.committing;
  if (state.checkpointing || state.rollingBack || committing || state.finished) return;
  if (!state.saveWanted && !state.ending) return;
  if (refused && state.now < refused.retryAt) return;
  state.saveWanted = false;
  state.checkpointing = true;
  state.finalCheckpoint = state.ending !== undefined;
  const { step, finalCheckpoint: final } = state;
  emit(state, { type: "checkpoint", step, core: snapshotOf(state), final });
}

export function checkpointed(state: SessionState, step: number, file: string, bytes: number): void {
  if (!state.checkpointing) return;
  state.checkpointing = false;
  accepted(state, "checkpoint");
  state.checkpoints = [
    ...state.checkpoints.filter((at) => at.file !== file),
    { file, step, bytes },
  ].slice(-3);
  recordEvent(state, "checkpoint", file);
  if (state.ending && state.finalCheckpoint) finish(state, state.ending);
}

/** The log grows without a checkpoint, so training waits for it. All steps are in the log meanwhile. */
export function checkpointFailed(state: SessionState, detail: string): void {
  if (!state.checkpointing) return;
  state.checkpointing = false;
  state.saveWanted = true;
  refuse(state, "checkpoint", detail);
  if (state.ending === "stopped" && state.finalCheckpoint) finish(state, "stopped", detail);
}

/** The step is applied and may not be published: its record must be on disk first. */
export function commitFailed(state: SessionState, step: number, detail: string): void {
  const { work } = state;
  if (work?.kind !== "gradient" || !work.committing || work.step !== step) return;
  refuse(state, "commit", detail);
  stopUnlessWritten(state);
}

/** Tries what the disk refused again, when it is time. */
export function retryWhenDue(state: SessionState): void {
  const { refusedByDisk: refused, work } = state;
  if (refused?.what !== "commit" || state.now < refused.retryAt) return;
  refused.retryAt = Number.POSITIVE_INFINITY;
  if (work?.kind === "gradient" && work.committing) askCommit(state, work);
}

/** The host has made room. */
export function retryNow(state: SessionState): void {
  const { refusedByDisk: refused } = state;
  if (refused && Number.isFinite(refused.retryAt)) refused.retryAt = state.now;
}

/** The disk has taken what it refused before. */
export function accepted(state: SessionState, what: RefusedByDisk["what"]): void {
  if (state.refusedByDisk?.what !== what) return;
  state.refusedByDisk = undefined;
  recordEvent(state, "disk-accepts", `the ${what} is written: training goes on`);
}

/**
 * A stop does not wait for room: the step whose record is refused was never published and is
 * computed again by the next start.
 */
export function stopUnlessWritten(state: SessionState): void {
  const { work, refusedByDisk: refused } = state;
  if (state.ending !== "stopped" || refused?.what !== "commit") return;
  if (work?.kind !== "gradient" || !work.committing || !Number.isFinite(refused.retryAt)) return;
  finish(state, "stopped", refused.detail);
}

export function finish(
  state: SessionState,
  reason: "done" | "stopped" | "failed",
  detail?: string,
): void {
  state.finished = true;
  closeWork(state);
  for (const { id, connected } of state.roster.all())
    if (connected)
      emit(state, {
        type: "notice",
        to: id,
        notice: { code: "FINISHED", message: "the run is over: thank you", final: true },
      });
  emit(state, { type: "finished", reason, detail });
}

function refuse(state: SessionState, what: RefusedByDisk["what"], detail: string): void {
  if (state.refusedByDisk?.what !== what) recordEvent(state, `${what}-failed`, detail);
  state.refusedByDisk = { what, detail, retryAt: state.now + RETRY_MS };
}
