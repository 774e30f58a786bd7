import { expect, test } from "vitest";
import {
  axisValues,
  curves,
  latest,
  summarise,
  toCsv,
} from "../../packages/dashboard/src/series.ts";
import { evalRecord, stepRecord } from "./records.ts";

const rows = (steps: readonly number[], epochSteps = 10) =>
  steps.map((step) => stepRecord(step, { epoch: Math.floor((step - 1) / epochSteps) }));

test("every column has one value a step, and evaluations stand in the row of their step", () => {
  const steps = rows([1, 2, 3, 4]).map((row) => ({ ...row, loss: 10 - row.step }));
  const evals = [evalRecord(2, { loss: 7.5 }), evalRecord(4, { top1: 0.8, top1_raw: 0.7 })];
  const columns = curves(steps, evals, "step", 0);
  expect(columns.x).toEqual([1, 2, 3, 4]);
  expect(columns.loss).toEqual([9, 8, 7, 6]);
  expect(columns.lossSmooth).toEqual([9, 8, 7, 6]);
  expect(columns.lossEval).toEqual([null, 7.5, null, 1]);
  expect(columns.top1Eval).toEqual([null, 0.5, null, 0.8]);
  expect(columns.top1EvalRaw).toEqual([null, 0.4, null, 0.7]);
});

test("an evaluation whose step was thinned out stands in the row before it", () => {
  const columns = curves(rows([1, 5, 9]), [evalRecord(7), evalRecord(20)], "step", 0);
  expect(columns.lossEval).toEqual([null, 1, 1]);
});

test("an evaluation before any step has no row", () => {
  expect(curves([], [evalRecord(0)], "step", 0).lossEval).toEqual([]);
});

test("a loss that is not finite is a gap", () => {
  const steps = [stepRecord(1), stepRecord(2, { loss: Number.NaN }), stepRecord(3)];
  expect(curves(steps, [], "step", 0.6).loss).toEqual([2, null, 2]);
});

test("epochs rise evenly within whole numbers, also where steps were thinned out", () => {
  const values = axisValues(rows([1, 6, 11, 16, 21]), "epoch");
  expect(values).toEqual([0, 0.5, 1, 1.5, 2]);
});

test("in the first epoch the size of the training split says how far it is", () => {
  const steps = rows([1, 2, 3], 1000);
  const values = axisValues(steps, "epoch", 6400); // 64 samples a step: 100 steps an epoch
  expect(values[2]).toBeCloseTo(0.02, 12);
});

test("epochs that are fractions already are taken as they are", () => {
  const steps = [stepRecord(1, { epoch: 0.25 }), stepRecord(2, { epoch: 0.5 })];
  expect(axisValues(steps, "epoch")).toEqual([0.25, 0.5]);
});

test("time counts from the first step and never falls, even if the clock was set back", () => {
  const steps = [5000, 7000, 6000, 9000].map((time, i) => stepRecord(i + 1, { time }));
  expect(axisValues(steps, "time")).toEqual([0, 2, 2, 4]);
});

test("a summary says from where to where and over how many steps", () => {
  const steps = rows([1, 600, 1200]);
  const text = (value: number) => value.toFixed(2);
  expect(summarise([2.31, 1, 0.84], steps, text)).toBe("2.31 → 0.84 over 1,200 steps");
  expect(summarise([null, 1, 0.84], steps, text)).toBe("1.00 → 0.84 over 601 steps");
  expect(summarise([null, null, null], steps, text)).toBeUndefined();
  expect(summarise([2.31], steps.slice(0, 1), text)).toBe("2.31 after 1 step");
});

test("the latest value at a row looks back over gaps", () => {
  expect(latest([1, null, null])).toBe(1);
  expect(latest([1, null, 3], 1)).toBe(1);
  expect(latest([null, null, 3], 1)).toBeNull();
});

test("the file of numbers has a line a step, with the evaluation of that step", () => {
  const lines = toCsv([stepRecord(1), stepRecord(2)], [evalRecord(2)])
    .trimEnd()
    .split("\n");
  expect(lines).toHaveLength(3);
  const width = lines[0].split(",").length;
  for (const line of lines) expect(line.split(",")).toHaveLength(width);
  expect(lines[2].endsWith(",1,0.5,0.9,0.4")).toBe(true);
  expect(lines[1].endsWith(",,,,")).toBe(true);
});
