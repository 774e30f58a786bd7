/** What the host asks for, and saving: pause, resume, save, stop, roll back. */

import type { CoreEvent, PublishedWeights } from "./messages.ts";
import { emit, isWorkingOnVectors, recordEvent, type SessionState, snapshotOf } from "./state.ts";
import { closeWork } from "./training.ts";

/** Takes the host's wish; what needs quiet vectors is done when they are. */
export function control(
  state: SessionState,
  action: Extract<CoreEvent, { type: "control" }>["action"],
): void {
  recordEvent(state, action, "by the host");
  if (action === "save") state.saveWanted = true;
  if (action === "stop") {
    if (state.finished) finish(state, "stopped");
    state.ending ??= "stopped";
  }
  if (state.ending) return;
  if (action === "pause") state.paused = "paused by the host";
  if (action === "resume") {
    state.paused = undefined;
    if (state.saveAtResume) state.saveWanted = true;
    state.saveAtResume = false;
    if (state.diverged) state.afterSettling = "reopen";
  }
  if (action === "rollback") state.afterSettling = "rollback";
}

/** Does what waited until no vector is being worked on. */
export function settle(state: SessionState): void {
  if (!state.afterSettling || isWorkingOnVectors(state) || state.checkpointing) return;
  const action = state.afterSettling;
  state.afterSettling = undefined;
  closeWork(state);
  if (action === "reopen") {
    state.diverged = undefined;
    return;
  }
  state.rollingBack = true;
  emit(state, { type: "rollback" });
}

/** Training goes on from the checkpoint that was loaded. */
export function rolledBack(state: SessionState, step: number, weights: PublishedWeights): void {
  if (!state.rollingBack) return;
  state.rollingBack = false;
  state.step = step;
  state.weights = weights;
  state.evaluatedAt = Math.min(state.evaluatedAt, step);
  state.cursor = state.options.planner.planStep(step)?.cursor ?? state.cursor;
  state.diverged = undefined;
  state.paused = undefined;
  state.statusWanted = true;
  recordEvent(state, "rolled-back", `to the weights after step ${step}`);
}

export function rollbackFailed(state: SessionState, detail: string): void {
  if (!state.rollingBack) return;
  state.rollingBack = false;
  recordEvent(state, "rollback-failed", detail);
  if (!state.diverged) state.paused = `the roll-back failed: ${detail}`;
}

/** Asks for the checkpoint that is due, one at a time; the last one when the run ends. */
export function saveWhenDue(state: SessionState): void {
  const committing = state.work?.kind === "gradient" && state.work.committing;
  if (state.checkpointing || state.rollingBack || committing || state.finished) return;
  if (!state.saveWanted && !state.ending) return;
  state.saveWanted = false;
  state.checkpointing = true;
  state.finalCheckpoint = state.ending !== undefined;
  const { step, finalCheckpoint: final } = state;
  emit(state, { type: "checkpoint", step, core: snapshotOf(state), final });
}

export function checkpointed(state: SessionState, step: number, file: string, bytes: number): void {
  if (!state.checkpointing) return;
  state.checkpointing = false;
  state.checkpoints = [
    ...state.checkpoints.filter((at) => at.file !== file),
    { file, step, bytes },
  ].slice(-3);
  recordEvent(state, "checkpoint", file);
  if (state.ending && state.finalCheckpoint) finish(state, state.ending);
}

/** Training without a way back is not worth the volunteers' power: it pauses until there is room. */
export function checkpointFailed(state: SessionState, detail: string): void {
  if (!state.checkpointing) return;
  state.checkpointing = false;
  recordEvent(state, "checkpoint-failed", detail);
  if (state.ending && state.finalCheckpoint) {
    finish(state, "failed", detail);
    return;
  }
  state.paused = `the checkpoint could not be written (${detail}): make room and resume`;
  state.saveAtResume = true;
}

function finish(state: SessionState, reason: "done" | "stopped" | "failed", detail?: string): void {
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
