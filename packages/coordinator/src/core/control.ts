/** What the host asks for: pause, resume, save, stop, roll back. */

import { clearLosses } from "./loss-guard.ts";
import type { CoreEvent, PublishedWeights } from "./messages.ts";
import { finish, retryNow } from "./saving.ts";
import { emit, isWorkingOnVectors, recordEvent, type SessionState } from "./state.ts";
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
    retryNow(state);
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
  clearLosses(state.losses);
  if (action === "reopen") {
    state.diverged = undefined;
    return;
  }
  state.rollingBack = true;
  emit(state, { type: "rollback", before: state.step });
}

/**
 * Training goes on from the checkpoint that was loaded: the newest one older than the steps done,
 * so that asking again at once goes one further back.
 */
export function rolledBack(state: SessionState, step: number, weights: PublishedWeights): void {
  if (!state.rollingBack) return;
  state.rollingBack = false;
  state.step = step;
  state.weights = weights;
  state.evaluatedAt = Math.min(state.evaluatedAt, step);
  state.checkpoints = state.checkpoints.filter((at) => at.step <= step);
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
