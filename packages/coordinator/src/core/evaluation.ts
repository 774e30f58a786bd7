/** Evaluations: when one is due, whether two opinions agree, and what came out. */

import { emit, record, recordEvent, type SessionState } from "./state.ts";
import { closeWork, openWork } from "./training.ts";
import { type EvaluationWork, isOnEma, openEvaluationWork } from "./work.ts";

/** Relative difference of two honest devices' losses on one unit, at most. */
const LOSS_TOLERANCE = 1e-3;

/** Opens both passes over the validation set. */
export function openEvaluation(state: SessionState): void {
  const { shards, height, width, unitSamples } = state.options.validation;
  const samples: number[] = [];
  for (const { first, count } of shards)
    for (let id = first; id < first + count; id++)
      if (!state.struckValidation.has(id)) samples.push(id);
  openWork(state, openEvaluationWork(state.step, samples, height, width, unitSamples));
}

/** Compares the last answer on a unit with the first. */
export function compareAnswers(state: SessionState, work: EvaluationWork, unit: number): void {
  const [a, ...others] = work.answers[unit];
  const b = others.at(-1);
  if (!b) return;
  const difference = Math.abs(a.report.loss - b.report.loss);
  const bound = LOSS_TOLERANCE * Math.max(a.report.loss, b.report.loss);
  const sameCounts = a.report.top1 === b.report.top1 && a.report.top5 === b.report.top5;
  if (sameCounts && difference <= bound) return;
  const nameOf = (id: string) => state.roster.get(id)?.name ?? id;
  const told = [a, b].map(
    ({ volunteer, report }) =>
      `${nameOf(volunteer)}: loss ${report.loss}, top-1 ${report.top1}, top-5 ${report.top5}`,
  );
  recordEvent(
    state,
    "disagreement",
    `unit ${unit} of the evaluation after step ${work.step}: ${told.join("; ")}`,
  );
}

/** Closes the evaluation once every unit has an answer and no second opinion is under way. */
export function finishEvaluation(state: SessionState, work: EvaluationWork): boolean {
  if (work.answered < work.units.length) return false;
  for (const { first } of state.book.standing()) if (state.book.claims(first) > 0) return false;
  const totals = { ema: zero(), raw: zero() };
  work.answers.forEach(([{ report }], unit) => {
    const total = isOnEma(work, unit) ? totals.ema : totals.raw;
    total.samples += work.units[unit].samples.length;
    total.top1 += report.top1;
    total.top5 += report.top5;
    total.loss += report.loss; // in unit order, float64
  });
  const { ema, raw } = totals;
  const samples = Math.max(1, ema.samples);
  const result = {
    kind: "eval",
    step: work.step,
    time: state.now,
    top1: ema.top1 / samples,
    top5: ema.top5 / samples,
    loss: ema.loss / samples,
    top1_raw: raw.top1 / Math.max(1, raw.samples),
    samples: ema.samples,
  } as const;
  state.evaluation = result;
  state.evaluatedAt = work.step;
  record(state, result);
  if (!state.best || result.top1 > state.best.top1) {
    state.best = { step: work.step, top1: result.top1 };
    emit(state, { type: "save-best", step: work.step, top1: result.top1 });
  }
  closeWork(state);
  return true;
}

function zero(): { samples: number; top1: number; top5: number; loss: number } {
  return { samples: 0, top1: 0, top5: 0, loss: 0 };
}
