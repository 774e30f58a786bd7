import { readFileSync } from "node:fs";
import { makeDivisible, type ScaleSpec, sizeTable } from "@swarmvit/shared/multiscale";
import { learningRate, type Schedule } from "@swarmvit/shared/schedule";
import { describe, expect, test } from "vitest";

const golden = JSON.parse(readFileSync(new URL("../golden/misc.json", import.meta.url), "utf8"));

interface SamplerCase {
  h: number;
  w: number;
  b: number;
  min_h: number;
  max_h: number;
  min_w: number;
  max_w: number;
  n: number;
  div: number;
  semantics: string;
  tuples: [number, number, number][];
}

function specOf(row: SamplerCase): ScaleSpec {
  return {
    baseHeight: row.h,
    baseWidth: row.w,
    unitSize: row.b,
    minHeight: row.min_h,
    maxHeight: row.max_h,
    minWidth: row.min_w,
    maxWidth: row.max_w,
    count: row.n,
    divisor: row.div,
    semantics: row.semantics === "main" ? "formula" : "floor",
    replicas: Number(row.semantics.match(/n_gpus=(\d+)/)?.[1] ?? 1),
  };
}

describe("the sampler's tables agree with both reference implementations", () => {
  test.each(
    (golden.variable_batch_sampler as SamplerCase[]).map((row) => [
      `${row.h}x${row.w} batch ${row.b}, ${row.semantics}`,
      row,
    ]) as [string, SamplerCase][],
  )("%s", (_, row) => {
    expect(
      sizeTable(specOf(row)).map(({ height, width, batch }) => [height, width, batch]),
    ).toEqual(row.tuples);
  });

  test.each(golden.make_divisible as [number, number, number][])(
    "makeDivisible(%d, %d) = %d",
    (value, divisor, expected) => {
      expect(makeDivisible(value, divisor)).toBe(expected);
    },
  );
});

describe("the learning rate agrees with the paper's code", () => {
  const EPOCH_ITERATIONS = 1251; // ImageNet at an effective batch of 1024
  const paper: Schedule = {
    lr: 0.002,
    minLr: 0.0002,
    warmupLr: 0.0002,
    warmupSamples: 3000,
    totalSamples: 300 * EPOCH_ITERATIONS,
    granularity: "epoch",
    epochSamples: EPOCH_ITERATIONS,
  };

  test.each(golden.lr_schedule.epoch_based as { iteration: number; epoch_based_300: number }[])(
    "iteration $iteration",
    ({ iteration, epoch_based_300 }) => {
      expect(learningRate(paper, iteration)).toBe(epoch_based_300);
    },
  );

  test.each(golden.lr_schedule.small.values as { iteration: number; lr: number }[])(
    "10 epochs of 8 iterations, iteration $iteration",
    ({ iteration, lr }) => {
      const small = { ...paper, warmupSamples: 20, totalSamples: 80, epochSamples: 8 };
      expect(learningRate(small, iteration)).toBe(lr);
    },
  );

  test("by samples it rises to the peak, then falls to the minimum without a step", () => {
    const smooth: Schedule = {
      ...paper,
      granularity: "sample",
      warmupSamples: 1000,
      totalSamples: 20_000,
    };
    expect(learningRate(smooth, 0)).toBe(0.0002);
    expect(learningRate(smooth, 1000)).toBe(0.002);
    expect(learningRate(smooth, 20_000)).toBe(0.0002);
    for (let seen = 1000; seen < 20_000; seen += 100)
      expect(learningRate(smooth, seen + 100)).toBeLessThanOrEqual(learningRate(smooth, seen));
  });
});
