import fc from "fast-check";
import { expect, test } from "vitest";
import { smooth } from "../../packages/dashboard/src/smooth.ts";

test("weight 0 shows the values themselves", () => {
  expect(smooth([3, 1, 2], 0)).toEqual([3, 1, 2]);
});

test("the first value is not pulled to zero, and later ones weigh as the debiased mean says", () => {
  const [first, second, third] = smooth([4, 8, 8], 0.5) as number[];
  expect(first).toBe(4);
  expect(second).toBeCloseTo((0.5 * 4 + 8) / 1.5, 12);
  expect(third).toBeCloseTo((0.25 * 4 + 0.5 * 8 + 8) / 1.75, 12);
});

test("a constant stays constant at any weight", () => {
  fc.assert(
    fc.property(
      fc.double({ min: -1e6, max: 1e6, noNaN: true }),
      fc.double({ min: 0, max: 0.99, noNaN: true }),
      (value, weight) => {
        for (const smoothed of smooth(new Array(30).fill(value), weight))
          expect(smoothed).toBeCloseTo(value, 6);
      },
    ),
  );
});

test("gaps and non-finite values stay gaps and do not move the average", () => {
  expect(smooth([1, null, Number.NaN, 3], 0.5)).toEqual([1, null, null, smooth([1, 3], 0.5)[1]]);
});
