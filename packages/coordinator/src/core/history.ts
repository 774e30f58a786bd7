/** The records of a run as pages want them: all recent ones, older steps thinned, behind a cursor. */

import type { EvalRecord, HistoryPage, MetricRecord, StepRecord } from "@swarmvit/shared/run";

export interface History {
  append(record: MetricRecord): void;
  /** Records after a cursor, at most 2000: steps are thinned evenly, the rest kept. */
  page(since: number): HistoryPage;
}

const CAPACITY = 8000;
const PAGE = 2000;

interface Entry {
  readonly cursor: number;
  readonly record: MetricRecord;
}

/** Opens a history that starts with what earlier sessions recorded. */
export function openHistory(earlier: readonly MetricRecord[] = []): History {
  let entries: Entry[] = [];
  let cursor = 0;
  const append = (record: MetricRecord) => {
    entries.push({ cursor: ++cursor, record });
    if (entries.length > CAPACITY) {
      const old = entries.slice(0, CAPACITY / 2);
      entries = [...thin(old, CAPACITY / 4), ...entries.slice(CAPACITY / 2)];
    }
  };
  for (const record of earlier) append(record);

  return {
    append,
    page(since) {
      // Cursors ascend, so the first wanted entry is found from the end.
      let first = entries.length;
      while (first > 0 && entries[first - 1].cursor > since) first--;
      const records = thin(entries.slice(first), PAGE).map((entry) => entry.record);
      return { cursor, records };
    },
  };
}

/** Where earlier sessions left the run, for pages that ask before the next step. */
export function lastOf(records: readonly MetricRecord[]) {
  const steps = records.filter((record): record is StepRecord => record.kind === "step");
  const total = (key: "bytes_in" | "bytes_out") => steps.reduce((sum, step) => sum + step[key], 0);
  const last = steps.at(-1);
  return {
    loss: last?.loss,
    lr: last?.lr,
    evaluation: records.findLast((record): record is EvalRecord => record.kind === "eval"),
    bytesIn: total("bytes_in"),
    bytesOut: total("bytes_out"),
  };
}

/** The loss of each step, in order. */
export function lossesOf(records: readonly MetricRecord[]): number[] {
  return records.flatMap((record) => (record.kind === "step" ? [record.loss] : []));
}

/** The best evaluation, of one known before and of later ones; the earlier of equals. */
export function bestOf(
  known: { readonly step: number; readonly top1: number } | undefined,
  evaluations: readonly EvalRecord[],
): { step: number; top1: number } | undefined {
  let best = known;
  for (const { step, top1 } of evaluations) if (!best || top1 > best.top1) best = { step, top1 };
  return best;
}

/** At most `most` entries: evenly chosen steps, then the newest of the others. The last step stays. */
function thin(entries: readonly Entry[], most: number): Entry[] {
  if (entries.length <= most) return [...entries];
  const steps = entries.filter((entry) => entry.record.kind === "step");
  const evaluations = entries.filter((entry) => entry.record.kind === "eval").slice(-most / 4);
  const others = entries
    .filter((entry) => entry.record.kind !== "step" && entry.record.kind !== "eval")
    .slice(-most / 4);
  const room = most - evaluations.length - others.length;
  const stride = Math.max(1, Math.ceil(steps.length / room));
  const kept = steps.filter((_, i) => (steps.length - 1 - i) % stride === 0);
  return [...kept, ...evaluations, ...others].sort((a, b) => a.cursor - b.cursor);
}
