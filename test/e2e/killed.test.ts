// The coordinator killed with -9 at random moments while four volunteers work. The oracle is outside:
// what volunteers were told is never lost. bench/crashes.ts does the same for longer, with times.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { runUnderKills } from "../support/killed-run.ts";
import { killAll, writeTinyFolder } from "../support/processes.ts";

const root = mkdtempSync(join(tmpdir(), "swarmvit-killed-"));
afterAll(async () => {
  await killAll();
  rmSync(root, { recursive: true, force: true });
});

test("four kills: nothing that was told is lost, and the volunteers go on by themselves", async () => {
  const data = writeTinyFolder(join(root, "data"));
  const run = await runUnderKills(root, data, { kills: 4, volunteers: 4, seed: 1 });
  expect(run.contradictions).toEqual([]);
  expect(run.lives).toHaveLength(5);
  for (const { step, told } of run.lives) expect(step).toBeGreaterThanOrEqual(told);
  expect(run.steps.map(({ step }) => step)).toEqual(run.steps.map((_, i) => i + 1));
  for (const [step, weights] of run.told)
    if (step < run.steps.length) expect([step, run.steps[step].weights]).toEqual([step, weights]);
  expect(run.steps.length).toBeGreaterThan(5);
}, 300_000);
