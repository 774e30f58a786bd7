import { uniform } from "@swarmvit/shared/random";
import type { NodeGradient } from "@swarmvit/worker/engine/executor";
import { createTreeSum } from "@swarmvit/worker/engine/tree-sum";
import { describe, expect, it } from "vitest";

const unit = (i: number): NodeGradient => ({
  samples: i + 1,
  loss: 0.1 * i,
  top1: i % 2,
  top5: 1,
  // Magnitudes so different that every order of addition rounds differently.
  gradient: Float32Array.from({ length: 50 }, (_, k) => (uniform(i, k) - 0.5) * 10 ** (i % 7)),
  statistics: Float32Array.from({ length: 3 }, (_, k) => uniform(i + 99, k)),
});

/** The definition: node (level, index) is the sum of its two halves, cut at U. */
function recursive(first: number, size: number, units: number): Float32Array | undefined {
  if (first >= units) return undefined;
  if (size === 1) return unit(first).gradient;
  const left = recursive(first, size / 2, units);
  const right = recursive(first + size / 2, size / 2, units);
  if (!left || !right) return left;
  return left.map((x, i) => x + right[i]);
}

function sumOf(first: number, end: number): NodeGradient {
  const sum = createTreeSum();
  for (let i = first; i < end; i++) sum.add(unit(i));
  return sum.finish();
}

describe("the sum of a node", () => {
  it.each([1, 2, 3, 5, 7, 8, 13, 16])("of %i units is the tree's, bit for bit", (units) => {
    const { gradient, samples } = sumOf(0, units);
    expect(gradient).toEqual(recursive(0, 16, units));
    expect(samples).toBe((units * (units + 1)) / 2);
  });

  it("does not depend on how units are grouped into nodes", () => {
    const whole = sumOf(0, 7);
    // Volunteers computed [0, 4), [4, 6) and [6, 7).
    const right = createTreeSum();
    right.add(sumOf(4, 6));
    right.add(sumOf(6, 7));
    const joined = createTreeSum();
    joined.add(sumOf(0, 4));
    joined.add(right.finish());
    expect(joined.finish()).toEqual(whole);
  });

  it("differs from a running sum, so that order matters at all", () => {
    const running = unit(0).gradient;
    for (let i = 1; i < 13; i++)
      unit(i).gradient.forEach((g, k) => {
        running[k] += g;
      });
    expect(running).not.toEqual(sumOf(0, 13).gradient);
  });

  it("refuses to finish before a unit was added", () => {
    expect(() => createTreeSum().finish()).toThrow(/before any unit/);
  });
});
