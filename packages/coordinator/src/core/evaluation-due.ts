/** When the weights are evaluated: after every so many steps or every epoch, and at the end. */

import type { SessionState } from "./state.ts";

/** True when the weights after `step` steps, those in force or the next, are to be evaluated before another. */
export function isEvaluationDue(state: SessionState, step: number): boolean {
  const { options, startedWith, evaluatedAt, totalSteps } = state;
  if (options.validation.shards.length === 0 || step <= evaluatedAt) return false;
  if (step >= totalSteps) return true;
  // An evaluation begins anew after a restart: a coordinator that is killed more often than one takes
  // must still make steps.
  if (step === startedWith) return false;
  const { evalEvery } = options;
  const period = (at: number) => (evalEvery ? Math.floor(at / evalEvery) : epochAt(state, at));
  return period(step) > period(evaluatedAt);
}

/** The epoch that the step after `step` commits belongs to. */
function epochAt(state: SessionState, step: number): number {
  const { planner } = state.options;
  return Math.floor((planner.planStep(step)?.cursor ?? 0) / planner.epochSamples);
}
