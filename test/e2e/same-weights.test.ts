// With the f32 codec and a deterministic executor the weights do not depend on who computed what:
// any number of volunteers, any grouping, kills in the middle of a unit, a killed coordinator.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import {
  fingerprintOf,
  joinUrl,
  killAll,
  type Process,
  readMetrics,
  readSteps,
  startSwarmvit,
  TINY,
  writeTinyFolder,
} from "../support/processes.ts";

const STEPS = 26; // past the checkpoint at 20, so that a resume starts from one
const SHARED_STEPS = 16;

let root: string;
let data: string;
let reference: ReturnType<typeof fingerprintOf>;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "swarmvit-e2e-"));
  data = writeTinyFolder(join(root, "data"));
  const { runDirectory } = await trainWith("one", [{}]);
  reference = fingerprintOf(runDirectory);
}, 180_000);
afterEach(killAll);
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Volunteer {
  readonly throttle?: number;
  /** Killed with SIGKILL when the coordinator has committed this step. */
  readonly killedAfterStep?: number;
}

function startRun(
  name: string,
  steps: number,
  ...more: string[]
): { coordinator: Process; runDirectory: string } {
  const runs = join(root, name);
  const coordinator = startSwarmvit([
    "train",
    ...["--data", data, "--runs-dir", runs, "--name", "run"],
    ...TINY,
    ...["--epochs", "5", "--max-steps", String(steps), "--eval-every", "1000"],
    "--exit-when-done",
    ...more,
  ]);
  return { coordinator, runDirectory: join(runs, "run") };
}

function joinRun(url: string, { throttle = 100 }: Volunteer): Process {
  return startSwarmvit(["work", url, "--backend", "wasm", "--throttle", String(throttle)]);
}

async function trainWith(name: string, volunteers: readonly Volunteer[], steps = STEPS) {
  const least = ["--min-workers", String(volunteers.length)];
  const { coordinator, runDirectory } = startRun(name, steps, ...least);
  const url = await joinUrl(coordinator);
  const processes = volunteers.map((volunteer) => joinRun(url, volunteer));
  volunteers.forEach(async ({ killedAfterStep }, i) => {
    if (killedAfterStep === undefined) return;
    await stepReached(url, killedAfterStep);
    await processes[i].kill();
  });
  const { code } = await coordinator.exited;
  expect(code, coordinator.output()).toBe(0);
  return { runDirectory, coordinator };
}

/** Also when the coordinator has ended: its exit says why. */
async function stepReached(url: string, least: number): Promise<void> {
  const step = async () => {
    const response = await fetch(new URL("/api/run", url)).catch(() => undefined);
    return response ? ((await response.json()) as { step: number }).step : Number.POSITIVE_INFINITY;
  };
  // Asked without a pause it would take a core from those who compute.
  await expect.poll(step, { interval: 25, timeout: 120_000 }).toBeGreaterThanOrEqual(least);
}

test("one volunteer: a whole run, every step recorded with its weights", () => {
  expect(reference.steps).toHaveLength(STEPS);
  expect(new Set(reference.steps).size).toBe(STEPS);
});

test("four volunteers of unequal speed, two killed: same weights, no sample lost or counted twice", async () => {
  const { runDirectory } = await trainWith(
    "four",
    [
      {},
      { throttle: 70 },
      { throttle: 50, killedAfterStep: 4 },
      { throttle: 30, killedAfterStep: 10 },
    ],
    SHARED_STEPS,
  );
  expect(fingerprintOf(runDirectory).steps).toEqual(reference.steps.slice(0, SHARED_STEPS));
  const workers = readSteps(runDirectory).map((step) => step.workers);
  expect(Math.max(...workers)).toBeGreaterThan(1); // the work was really shared
}, 180_000);

test("the coordinator killed with -9 goes on to the same weights, its volunteer by itself", async () => {
  const first = startRun("resumed", STEPS);
  const url = await joinUrl(first.coordinator);
  const { port } = new URL(url);
  joinRun(url, {});
  await stepReached(url, 21);
  await first.coordinator.kill("SIGKILL");
  const before = readSteps(first.runDirectory).at(-1)?.step ?? 0;
  expect(before).toBeGreaterThanOrEqual(20);

  const second = startSwarmvit([
    "train",
    ...["--runs-dir", join(root, "resumed"), "--name", "run", "--resume"],
    ...["--port", port, "--exit-when-done"],
  ]);
  const { code } = await second.exited; // the first one's volunteer reconnects: none is started here
  expect(code, second.output()).toBe(0);
  expect(fingerprintOf(first.runDirectory)).toEqual(reference);
  const resumed = readMetrics(first.runDirectory).filter(
    (record) => record.kind === "event" && record.what.includes("resume"),
  );
  expect(resumed.length, "the resume is on record").toBeGreaterThan(0);
}, 240_000);
