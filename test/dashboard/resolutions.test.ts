import { expect, test } from "vitest";
import {
  histogram,
  meanSide,
  sizeColour,
  sizeName,
  sizesOf,
  stripBars,
  unitBatches,
} from "../../packages/dashboard/src/resolutions.ts";

const steps: { resolutions: Record<string, number> }[] = [
  { resolutions: { "320x320": 1, "160x160": 3 } },
  { resolutions: { "160x192": 2, "160x160": 2 } },
];

test("sizes are listed by area, and what is no size is left out", () => {
  const odd = [...steps, { resolutions: { whole: 1 } }];
  expect(sizesOf(odd).map(sizeName)).toEqual(["160²", "160×192", "320²"]);
});

test("the histogram counts units over all steps", () => {
  const bars = histogram(steps);
  expect(bars.map((bar) => bar.units)).toEqual([5, 2, 1]);
  expect(bars.map((bar) => bar.share)).toEqual([5 / 8, 2 / 8, 1 / 8]);
  expect(meanSide(bars)).toBeCloseTo((5 * 160 + 2 * Math.sqrt(160 * 192) + 320) / 8, 9);
  expect(meanSide([])).toBeUndefined();
});

test("wide bars are one a step, side by side without gaps", () => {
  const bars = stripBars(steps, [10, 30], sizesOf(steps), 2);
  expect(bars.map(({ left, right }) => [left, right])).toEqual([
    [0, 20],
    [20, 40],
  ]);
  expect(bars[0].shares).toEqual([0.75, 0, 0.25]);
  expect(bars[1].shares).toEqual([0.5, 0.5, 0]);
});

test("steps narrower than a pixel are summed, and none is lost", () => {
  const many = Array.from({ length: 1000 }, (_, i) => ({
    resolutions: { [i % 4 === 0 ? "64x64" : "48x48"]: 1 },
  }));
  const positions = many.map((_, i) => i / 10);
  const bars = stripBars(many, positions, sizesOf(many), 2);
  expect(bars.length).toBeLessThanOrEqual(51);
  for (const bar of bars.slice(0, -1)) expect(bar.shares[1]).toBeCloseTo(0.25, 1);
  expect(bars[0].left).toBeCloseTo(-0.05, 9);
  expect(bars[bars.length - 1].right).toBeCloseTo(99.95, 9);
});

test("no step, no bar; one step, one bar", () => {
  expect(stripBars([], [], [], 2)).toEqual([]);
  expect(stripBars(steps.slice(0, 1), [10], sizesOf(steps), 4)).toHaveLength(1);
});

test("images a unit follow the run's own table of sizes, however the keys are spelled", () => {
  const config = { "img-size": 64, "unit-size": 16, scales: "48:80:5:8" };
  const batches = unitBatches(config);
  expect(batches.get("64x64")).toBe(16);
  expect(batches.get("48x48")).toBe(28);
  expect(batches.get("80x80")).toBe(10);
  const camel = { imgSize: 64, unitSize: 16, scales: "48:80:5:8" };
  expect(unitBatches(camel)).toEqual(batches);
  expect(unitBatches({ "img-size": 64 }).size).toBe(0);
});

test("each size has a colour of its own in both themes", () => {
  for (const dark of [true, false]) {
    const colours = [0, 1, 2, 3, 4].map((rank) => sizeColour(rank, 5, dark));
    expect(new Set(colours).size).toBe(5);
  }
});
