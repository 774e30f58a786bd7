/** Real processes: one is killed at a random moment of every step, one is frozen. `bench/process-kills.ts` is the long form. */

import { expect, it } from "vitest";
import { calmWeights, killVolunteers } from "../support/process-kills.ts";

it("twelve kills and a frozen volunteer lose no step and count nothing twice", async () => {
  const config = { epochs: 100_000, maxSteps: 100_000 };
  const steps = 12;
  const run = await killVolunteers({
    config,
    volunteers: 4,
    steps,
    paceMs: 100,
    seed: 5,
    thawEvery: 5,
  });
  expect(run.killed).toBe(steps);
  expect(run.frozen).toBeGreaterThanOrEqual(2);
  expect(run.steps.map(({ step }) => step)).toEqual(run.steps.map((_, i) => i + 1));
  for (const { samples } of run.steps) expect(samples).toBe(8);
  // A unit that was counted twice, or not at all, would change every hash from there on.
  const hashes = run.steps.map(({ weights }) => weights);
  expect(hashes).toEqual(await calmWeights(config, hashes.length));
}, 180_000);
