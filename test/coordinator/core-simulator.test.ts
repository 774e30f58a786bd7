import { NO_FAULTS } from "@swarmvit/coordinator/simulate/faults";
import { runSwarm } from "@swarmvit/coordinator/simulate/swarm";
import { wildSwarm } from "@swarmvit/coordinator/simulate/wild";
import { learningRate } from "@swarmvit/shared/schedule";
import { describe, expect, test } from "vitest";
import { runSeeds } from "./simulator-seeds.ts";

describe("the core in virtual time", () => {
  test("one calm volunteer trains the whole plan at the plan's rates", () => {
    const wild = wildSwarm(1, 200);
    const devices = [{ ...wild.devices[0], honest: true }];
    const outcome = runSwarm({ ...wild, devices, faults: NO_FAULTS, undecodable: undefined });
    expect(outcome.violations).toEqual([]);
    expect(outcome.steps).toBe(200);
    const { planner, schedule } = wild.session;
    const steps = outcome.records.filter((record) => record.kind === "step");
    expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    for (const { step, lr } of steps)
      expect(lr).toBe(learningRate(schedule, planner.planStep(step - 1)!.cursor));
    for (const [step, samples] of outcome.samples.entries())
      expect(samples).toEqual(planner.planStep(step)!.units.flatMap((unit) => [...unit.samples]));
    expect(outcome.reissued).toBe(0);
    expect(outcome.state.evaluation).toMatchObject({ step: 200, samples: 50 });
    expect(outcome.state.evaluation?.top1).toBeCloseTo(17 / 50, 12);
  });

  test("the same seed gives the same run", () => {
    const run = () => {
      const { coreMs, ...outcome } = runSwarm(wildSwarm(11, 100));
      return JSON.stringify(outcome);
    };
    expect(run()).toBe(run());
  });

  test("any swarm, any fault: every invariant after every event", () => {
    // The seeds must have met what they are for.
    for (const [what, times] of Object.entries(runSeeds(1, 30)))
      expect(times, what).toBeGreaterThan(50);
  });
});
