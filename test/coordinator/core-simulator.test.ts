import { openPlanner } from "@swarmvit/shared/planner";
import { learningRate } from "@swarmvit/shared/schedule";
import { describe, expect, test } from "vitest";
import { PLAN, type Scenario, simulate, simulatedOptions } from "./simulator.ts";
import { openChance } from "./simulator-clock.ts";
import { type Faults, NO_FAULTS } from "./simulator-volunteer.ts";

const CALM: Scenario = {
  seed: 1,
  volunteers: 1,
  speeds: [20],
  want: 2,
  units: 5,
  epochs: 3,
  faults: NO_FAULTS,
  faultsUntilMs: 0,
};

/** A swarm with everything that can go wrong, from a seed. */
function wild(seed: number): Scenario {
  const chance = openChance(seed ^ 0x5eed);
  const rare = () => (chance.happens(0.5) ? chance.between(0, 0.15) : 0);
  const faults: Faults = {
    lose: rare(),
    duplicate: rare(),
    late: rare(),
    spoil: rare(),
    spoilCodes: ["CHECKSUM", "SIZE"],
    abandon: rare(),
    disconnect: rare(),
    vanish: rare() / 2,
    leave: rare() / 2,
    pause: rare() / 2,
  };
  return {
    seed,
    volunteers: 1 + chance.below(7),
    speeds: [5, 10, 20, 40].slice(chance.below(4)),
    want: 1 + chance.below(3),
    units: 1 + chance.below(9),
    epochs: 2,
    faults,
    faultsUntilMs: 120_000,
    crashEveryMs: chance.happens(0.5) ? chance.between(5000, 40_000) : undefined,
  };
}

/** What must be true of any finished run. */
function expectSound(scenario: Scenario, outcome: ReturnType<typeof simulate>): void {
  const { units, epochs } = scenario;
  const planner = openPlanner({ ...PLAN, unitCount: units, epochs });
  const { schedule } = simulatedOptions(units, epochs, 0);
  expect(outcome.commits.length).toBe(planner.totalSteps);
  outcome.commits.forEach((commit, step) => {
    const plan = planner.planStep(step)!;
    expect(commit.samples).toEqual(plan.units.flatMap((unit) => [...unit.samples]));
    expect(commit.lr).toBe(learningRate(schedule, plan.cursor));
  });
  expect(outcome.state.phase).toBe("done");
  expect(outcome.state.evaluation?.step).toBe(planner.totalSteps);
  expect(outcome.state.evaluation?.samples).toBe(50);
  expect(outcome.state.evaluation?.top1).toBeCloseTo(17 / 50, 12);
}

describe("the core in virtual time", () => {
  test("one calm volunteer trains the whole plan, each sample once an epoch", () => {
    const outcome = simulate(CALM);
    expectSound(CALM, outcome);
    const steps = outcome.records.filter((record) => record.kind === "step");
    expect(steps.map((record) => record.step)).toEqual(outcome.commits.map((_, i) => i + 1));
    const seen = outcome.commits.flatMap((commit) => [...commit.samples]);
    for (let epoch = 0; (epoch + 1) * 103 <= seen.length; epoch++)
      expect(new Set(seen.slice(epoch * 103, (epoch + 1) * 103)).size).toBe(103);
    expect(outcome.records.filter((record) => record.kind === "eval").length).toBe(3);
  });

  test("the same seed gives the same run, effect for effect", () => {
    const scenario = wild(11);
    expect(JSON.stringify(simulate(scenario))).toBe(JSON.stringify(simulate(scenario)));
  });

  test("any swarm, any churn, any crash: the same weights as one calm volunteer", () => {
    const calm = new Map<number, string>();
    for (let units = 1; units <= 9; units++)
      calm.set(units, simulate({ ...CALM, units, epochs: 2 }).commits.at(-1)!.weights.parameters);
    let crashes = 0;
    let expired = 0;
    let refused = 0;
    for (let seed = 1; seed <= 200; seed++) {
      const scenario = wild(seed);
      let outcome: ReturnType<typeof simulate>;
      try {
        outcome = simulate(scenario);
        expectSound(scenario, outcome);
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, {
          cause: error,
        });
      }
      expect(outcome.commits.at(-1)!.weights.parameters, `seed ${seed}`).toBe(
        calm.get(scenario.units),
      );
      crashes += outcome.crashes;
      for (const record of outcome.records) {
        if (record.kind === "worker" && record.what === "expired") expired++;
        if (record.kind === "worker" && record.what === "refused") refused++;
      }
    }
    // The seeds must have met what they are for.
    expect(crashes).toBeGreaterThan(50);
    expect(expired).toBeGreaterThan(50);
    expect(refused).toBeGreaterThan(50);
  });
});
