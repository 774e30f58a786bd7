/** The records of a run as the page keeps them: a decimated snapshot, then pages in order. */

import type {
  EvalRecord,
  EventRecord,
  HistoryPage,
  StepRecord,
  WorkerRecord,
} from "@swarmvit/shared/run";

export type LogRecord = WorkerRecord | EventRecord;

export interface History {
  /** Records of the run seen so far, as the coordinator counts them; what to ask with next time. */
  readonly cursor: number;
  /** By step, ascending. */
  readonly steps: readonly StepRecord[];
  readonly evals: readonly EvalRecord[];
  /** The latest of volunteers and events, oldest first. */
  readonly log: readonly LogRecord[];
}

export const EMPTY_HISTORY: History = { cursor: 0, steps: [], evals: [], log: [] };

/** Steps in memory above which the page asks for a fresh, decimated snapshot. */
export const MAX_STEPS = 6000;
const MAX_LOG = 200;

/**
 * How a page from the socket joins what is there: `next` continues it (perhaps overlapping),
 * `gap` leaves some out, so that the page must ask for them, `old` says nothing new.
 */
export function pagePosition(history: History, page: HistoryPage): "next" | "gap" | "old" {
  if (page.cursor <= history.cursor) return "old";
  return page.cursor - page.records.length <= history.cursor ? "next" : "gap";
}

/**
 * Adds the records of a page that are after the history's cursor. After a rollback a step comes
 * again: the new one replaces the old and all that followed it.
 */
export function extendHistory(history: History, page: HistoryPage): History {
  const fresh = Math.min(page.records.length, Math.max(0, page.cursor - history.cursor));
  const steps = [...history.steps];
  const evals = [...history.evals];
  const log = [...history.log];
  for (const record of page.records.slice(page.records.length - fresh)) {
    if (record.kind === "step") {
      cut(steps, (step) => step.step >= record.step);
      cut(evals, (evaluation) => evaluation.step > record.step);
      steps.push(record);
    } else if (record.kind === "eval") {
      cut(evals, (evaluation) => evaluation.step >= record.step);
      evals.push(record);
    } else log.push(record);
  }
  return { cursor: Math.max(history.cursor, page.cursor), steps, evals, log: log.slice(-MAX_LOG) };
}

/** Removes the records at the end that a newer one makes void. */
function cut<T>(records: T[], isVoid: (record: T) => boolean): void {
  while (records.length > 0 && isVoid(records[records.length - 1])) records.pop();
}
