import { sizeTable } from "@swarmvit/shared/multiscale";
import { openPlanner, type PlanConfig, type StepPlan } from "@swarmvit/shared/planner";
import { childrenOf, contains, rootOf, unitRange } from "@swarmvit/shared/tree";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

const SIZES = sizeTable({
  baseHeight: 64,
  baseWidth: 64,
  unitSize: 16,
  minHeight: 48,
  maxHeight: 80,
  minWidth: 48,
  maxWidth: 80,
  count: 5,
  divisor: 8,
  semantics: "formula",
});

const BASE: PlanConfig = {
  seed: 42,
  unitCount: 4,
  sizes: SIZES,
  oneSize: false,
  shards: [
    { first: 0, count: 300 },
    { first: 300, count: 299 },
    { first: 599, count: 299 },
  ],
  epochs: 3,
};

function allSteps(config: PlanConfig): StepPlan[] {
  const planner = openPlanner(config);
  return Array.from({ length: planner.totalSteps }, (_, step) => planner.planStep(step)!);
}

const configs = fc.record({
  seed: fc.nat(),
  unitCount: fc.integer({ min: 1, max: 9 }),
  sizes: fc.constant(SIZES),
  oneSize: fc.boolean(),
  shards: fc
    .array(fc.integer({ min: 28, max: 90 }), { minLength: 1, maxLength: 6 })
    .map((counts) =>
      counts.map((count, i) => ({ first: counts.slice(0, i).reduce((a, b) => a + b, 0), count })),
    ),
  epochs: fc.integer({ min: 1, max: 4 }),
});

describe("the plan", () => {
  test("uses each sample once an epoch, without padding; only the end drops a remainder", () => {
    fc.assert(
      fc.property(configs, (config) => {
        const { epochSamples, totalSamples } = openPlanner(config);
        const stream = allSteps(config).flatMap((plan) =>
          plan.units.flatMap((unit) => unit.samples),
        );
        for (let epoch = 0; epoch < config.epochs; epoch++) {
          const part = stream.slice(epoch * epochSamples, (epoch + 1) * epochSamples);
          expect(new Set(part).size).toBe(part.length);
          if (part.length === epochSamples)
            expect([...part].sort((a, b) => a - b)[epochSamples - 1]).toBe(epochSamples - 1);
        }
        const largestStep = config.unitCount * Math.max(...config.sizes.map((size) => size.batch));
        expect(totalSamples - stream.length).toBeLessThan(largestStep);
      }),
      { numRuns: 60 },
    );
  });

  test("is the same from any starting point: a resumed run plans what the first would have", () => {
    const steps = allSteps(BASE);
    for (const step of [0, 7, 3, steps.length - 1])
      expect(openPlanner(BASE).planStep(step)).toEqual(steps[step]);
    expect(openPlanner(BASE).planStep(steps.length)).toBeUndefined();
    expect(openPlanner(BASE).planStep(-1)).toBeUndefined();
  });

  test("chains its cursors, orders units by size and gives each its own seed", () => {
    const steps = allSteps(BASE);
    let cursor = 0;
    for (const plan of steps) {
      expect(plan.cursor).toBe(cursor);
      expect(plan.samples).toBe(plan.units.reduce((sum, unit) => sum + unit.samples.length, 0));
      cursor += plan.samples;
      expect(plan.nextCursor).toBe(cursor);
      const areas = plan.units.map((unit) => unit.height * unit.width);
      expect(areas).toEqual([...areas].sort((a, b) => a - b));
    }
    const seeds = steps.flatMap((plan) => plan.units.map((unit) => unit.seed));
    expect(new Set(seeds).size).toBe(seeds.length);
  });

  test("mixes sizes within a step, or not with oneSize", () => {
    const kinds = (plan: StepPlan) => new Set(plan.units.map((unit) => unit.height)).size;
    const mixed = allSteps(BASE).filter((plan) => kinds(plan) > 1).length;
    expect(mixed / allSteps(BASE).length).toBeGreaterThan(0.5);
    for (const plan of allSteps({ ...BASE, oneSize: true })) expect(kinds(plan)).toBe(1);
  });

  test("a unit touches at most two shards", () => {
    for (const plan of allSteps(BASE))
      for (const unit of plan.units) {
        const shards = unit.samples.map((id) =>
          BASE.shards.findIndex((s) => id < s.first + s.count),
        );
        expect(new Set(shards).size).toBeLessThanOrEqual(2);
      }
  });

  test("strikes a sample for good without touching other units, and never leaves fewer than two", () => {
    const planner = openPlanner(BASE);
    const plan = planner.planStep(5)!;
    const victim = plan.units[2].samples[3];
    const struck = planner.planStep(5, new Set([victim]))!;
    expect(struck.units[2].samples).not.toContain(victim);
    expect(struck.samples).toBe(plan.samples - 1);
    expect(struck.units.filter((_, i) => i !== 2)).toEqual(plan.units.filter((_, i) => i !== 2));
    const allButOne = new Set(plan.units[0].samples.slice(1));
    expect(planner.planStep(5, allButOne)!.units[0].samples).toHaveLength(2);
  });

  test("too little data is refused with what to do", () => {
    expect(() => openPlanner({ ...BASE, shards: [{ first: 0, count: 20 }] })).toThrow(
      /20 samples, but a unit needs 28: add data or lower --unit-size/,
    );
  });
});

describe("the tree", () => {
  test("children split their parent's units, for any number of units", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), (unitCount) => {
        const root = rootOf(unitCount);
        expect(unitRange(root, unitCount)).toEqual({ first: 0, end: unitCount });
        const leaves: number[] = [];
        const walk = (node = root): void => {
          const { first, end } = unitRange(node, unitCount);
          expect(end).toBeGreaterThan(first);
          expect(contains(root, node)).toBe(true);
          const children = childrenOf(node, unitCount);
          if (!children) leaves.push(first);
          else {
            walk(children.left);
            if (children.right) walk(children.right);
          }
        };
        walk();
        expect(leaves).toEqual(Array.from({ length: unitCount }, (_, i) => i));
      }),
    );
  });
});
