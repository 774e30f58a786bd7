import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { NO_FAULTS } from "@swarmvit/coordinator/simulate/faults";
import { boundOf, scenarioSwarm } from "@swarmvit/coordinator/simulate/scenarios";
import { runSwarm } from "@swarmvit/coordinator/simulate/swarm";
import { wildSwarm } from "@swarmvit/coordinator/simulate/wild";
import { learningRate } from "@swarmvit/shared/schedule";
import { describe, expect, test } from "vitest";
import { replayOf } from "./simulator-seeds.ts";

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

  test("the command that a failing seed names runs the same swarm", () => {
    const [, , ...words] = replayOf(7, 60).split(" ");
    const executable = fileURLToPath(
      new URL("../../packages/coordinator/bin/swarmvit.mjs", import.meta.url),
    );
    const printed = execFileSync(process.execPath, [executable, ...words, "--json"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    const { weights, steps, leases, reissued, virtualMs } = runSwarm(wildSwarm(7, 60));
    expect(JSON.parse(printed)).toMatchObject({
      ...{ weights, steps, leases, reissued },
      virtualSeconds: virtualMs / 1000,
    });
  });

  test("no assignment is better than the bound of a synchronous step, and none far below it", () => {
    const options = {
      ...({ scenario: "lan", workers: 4, speeds: [1, 2, 4, 8], units: 60 } as const),
      ...{ steps: 6, churn: 0, seed: 1, classes: 1000 },
    };
    const bound = boundOf(options);
    const fitted = runSwarm(scenarioSwarm(options)).steady;
    const equal = runSwarm(scenarioSwarm({ ...options, split: "equal" })).steady;
    expect(fitted?.efficiency).toBeLessThan(bound.efficiency);
    expect(fitted?.efficiency).toBeGreaterThan(0.95 * bound.efficiency);
    expect(fitted?.stepsPerMinute).toBeGreaterThan(3.3 * (equal?.stepsPerMinute ?? Infinity));
    expect(bound.efficiency).toBeCloseTo(0.81, 2);
  });
});
