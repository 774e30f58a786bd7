/** From records to what a chart draws: aligned columns over a chosen x axis. */

import type { EvalRecord, StepRecord } from "@swarmvit/shared/run";
import { formatCount } from "./format.ts";
import { smooth } from "./smooth.ts";

export type Axis = "step" | "epoch" | "time";
export type Column = readonly (number | null)[];

/** Columns of one length, one row a step. Fractions in [0, 1], time in seconds from the first row. */
export interface Curves {
  readonly rows: readonly StepRecord[];
  readonly x: readonly number[];
  readonly loss: Column;
  readonly lossSmooth: Column;
  readonly lossEval: Column;
  readonly top1: Column;
  readonly top1Smooth: Column;
  readonly top1Eval: Column;
  readonly top1EvalRaw: Column;
  readonly lr: Column;
  readonly gradNorm: Column;
  readonly gradNormSmooth: Column;
  readonly speed: Column;
  readonly speedSmooth: Column;
}

/**
 * The columns of a run. An evaluation stands in the row of its step, or of the last one kept
 * before it (the snapshot is decimated); `smoothing` in [0, 1) is that of the strong lines;
 * `trainSamples`, the images of an epoch, places steps within the epoch that is not over yet.
 */
export function curves(
  steps: readonly StepRecord[],
  evals: readonly EvalRecord[],
  axis: Axis,
  smoothing: number,
  trainSamples?: number,
): Curves {
  const column = (pick: (row: StepRecord) => number): Column =>
    steps.map((row) => finite(pick(row)));
  const rowsOfEvals = evals.map((evaluation) => rowAt(steps, evaluation.step));
  const overlay = (pick: (evaluation: EvalRecord) => number): Column => {
    const values: (number | null)[] = new Array(steps.length).fill(null);
    evals.forEach((evaluation, i) => {
      if (values.length > 0) values[rowsOfEvals[i]] = finite(pick(evaluation));
    });
    return values;
  };
  const loss = column((row) => row.loss);
  const top1 = column((row) => row.top1);
  const gradNorm = column((row) => row.grad_norm);
  const speed = column((row) => row.images_per_second);
  return {
    rows: steps,
    x: axisValues(steps, axis, trainSamples),
    loss,
    lossSmooth: smooth(loss, smoothing),
    lossEval: overlay((evaluation) => evaluation.loss),
    top1,
    top1Smooth: smooth(top1, smoothing),
    top1Eval: overlay((evaluation) => evaluation.top1),
    top1EvalRaw: overlay((evaluation) => evaluation.top1_raw),
    lr: column((row) => row.lr),
    gradNorm,
    gradNormSmooth: smooth(gradNorm, smoothing),
    speed,
    speedSmooth: smooth(speed, smoothing),
  };
}

/** Where each step stands on the axis: never falling, as charts need. */
export function axisValues(
  steps: readonly StepRecord[],
  axis: Axis,
  trainSamples?: number,
): number[] {
  if (axis === "step") return steps.map((row) => row.step);
  if (axis === "epoch") return epochValues(steps, trainSamples);
  let last = 0;
  // A clock may be set back between two lives of the coordinator.
  return steps.map((row) => {
    last = Math.max(last, (row.time - steps[0].time) / 1000);
    return last;
  });
}

/** "2.31 → 0.84 over 1,200 steps", for those who cannot see the chart; undefined without data. */
export function summarise(
  values: Column,
  rows: readonly StepRecord[],
  format: (value: number) => string,
): string | undefined {
  const known = values.flatMap((value, row) => (value === null ? [] : [row]));
  if (known.length === 0) return undefined;
  const first = known[0];
  const last = known[known.length - 1];
  const steps = rows[last].step - rows[first].step + 1;
  const end = format(values[last] as number);
  if (steps === 1) return `${end} after 1 step`;
  return `${format(values[first] as number)} → ${end} over ${formatCount(steps)} steps`;
}

/** The last known value of a column at or before a row (default: the end). */
export function latest(values: Column, row = values.length - 1): number | null {
  for (let i = Math.min(row, values.length - 1); i >= 0; i--)
    if (values[i] !== null) return values[i];
  return null;
}

/** Rows as comma-separated values with a header line, in the order of metrics.jsonl's own names. */
export function toCsv(steps: readonly StepRecord[], evals: readonly EvalRecord[]): string {
  const evalOf = new Map(evals.map((evaluation) => [evaluation.step, evaluation]));
  const header =
    "step,epoch,time,loss,top1,lr,grad_norm,samples,images_per_second,seconds,workers,bytes_in,bytes_out,eval_loss,eval_top1,eval_top5,eval_top1_raw";
  const lines = steps.map((row) => {
    const evaluation = evalOf.get(row.step);
    return [
      ...[row.step, row.epoch, row.time, row.loss, row.top1, row.lr, row.grad_norm, row.samples],
      ...[row.images_per_second, row.seconds, row.workers, row.bytes_in, row.bytes_out],
      ...[evaluation?.loss, evaluation?.top1, evaluation?.top5, evaluation?.top1_raw],
    ].join(",");
  });
  return `${[header, ...lines].join("\n")}\n`;
}

/** Epochs are whole numbers in the log: the place within one comes from the steps around it. */
function epochValues(steps: readonly StepRecord[], trainSamples?: number): number[] {
  if (steps.some((row) => !Number.isInteger(row.epoch))) return steps.map((row) => row.epoch);
  const starts: number[] = []; // rows at which an epoch begins
  steps.forEach((row, i) => {
    if (i === 0 || row.epoch !== steps[i - 1].epoch) starts.push(i);
  });
  const samples = steps.reduce((sum, row) => sum + row.samples, 0) / steps.length;
  const expected = trainSamples && samples > 0 ? trainSamples / samples : 0;
  return starts.flatMap((start, i) => {
    const end = starts.at(i + 1) ?? steps.length;
    const first = steps[start].step;
    const length =
      end < steps.length
        ? steps[end].step - first
        : Math.max(expected, steps[end - 1].step - first + 1);
    const epochs = end < steps.length ? steps[end].epoch - steps[start].epoch : 1;
    return steps.slice(start, end).map((row) => row.epoch + ((row.step - first) / length) * epochs);
  });
}

/** The last row whose step is not after `step`, or the first row. */
function rowAt(steps: readonly StepRecord[], step: number): number {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle].step <= step) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
