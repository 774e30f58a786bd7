/** Strangers against a real coordinator while honest volunteers work: nothing breaks, nothing is lost. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { StepRecord } from "@swarmvit/shared/run";
import { afterEach, expect, it } from "vitest";
import { attack, squat } from "../support/attack.ts";
import { type Cluster, openCluster } from "../support/cluster.ts";

let cluster: Cluster;
afterEach(() => cluster.close());

const SAMPLES = 8;

it("2,500 messages, 50 idle sockets and 20 that never read change no weight and hold no memory", async () => {
  const calm = await trained(8);
  await cluster.close();

  cluster = await openCluster({
    config: { maxSteps: 100_000, epochs: 100_000 },
    options: { limits: { helloMs: 1500 } },
  });
  const { coordinator, table, lines } = cluster;
  const steps: StepRecord[] = [];
  coordinator.onRecord((record) => {
    if (record.kind === "step") steps.push(record);
  });
  await work(2);
  const before = await stepsAfter(steps, 2);
  const used = memory();
  const squatters = await squat(coordinator.url, 50, 20);
  const asking = setInterval(() => squatters.ask(), 100);
  const sent = await attack({
    url: coordinator.url,
    table,
    seed: 4,
    messages: 2500,
    durationMs: 0,
  });
  expect(Object.values(sent).reduce((sum, n) => sum + n)).toBeGreaterThanOrEqual(2500);
  const during = steps.length;
  expect(during).toBeGreaterThan(before);
  await stepsAfter(steps, Math.max(8, during + 2)); // with the idle and the deaf still there
  clearInterval(asking);
  squatters.close();
  await stepsAfter(steps, steps.length + 1);

  expect(memory() - used).toBeLessThan(32 * 2 ** 20);
  // Exactly once: every step in order, of the planned samples, and at the same weights as in calm.
  expect(steps.map(({ step }) => step)).toEqual(steps.map((_, i) => i + 1));
  for (const { samples } of steps) expect(samples).toBe(SAMPLES);
  expect(steps.slice(0, 8).map(({ weights }) => weights)).toEqual(
    calm.map(({ weights }) => weights),
  );
  for (const code of ["MALFORMED", "SILENT", "LEASE"])
    expect(lines.some((line) => line.startsWith(`refused ${code}`))).toBe(true);
  expect(lines.filter((line) => line.includes("failed:"))).toEqual([]);
  // A hundred lines at most, whatever was sent.
  expect(lines.length).toBeLessThan(100);
}, 120_000);

async function trained(maxSteps: number): Promise<StepRecord[]> {
  cluster = await openCluster({ config: { epochs: 100_000, maxSteps } });
  const steps: StepRecord[] = [];
  cluster.coordinator.onRecord((record) => {
    if (record.kind === "step") steps.push(record);
  });
  await work(1);
  await cluster.coordinator.finished;
  return steps;
}

async function work(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const volunteer = await cluster.join();
    volunteer.want(2);
    volunteer.serve();
  }
}

/** Resolves with the number of steps when there are so many. */
function stepsAfter(steps: readonly StepRecord[], count: number): Promise<number> {
  return new Promise((resolve) => {
    const look = () => {
      if (steps.length < count) return;
      off();
      resolve(steps.length);
    };
    const off = cluster.coordinator.onRecord(look);
    look();
  });
}

/** Bytes in use, garbage collected. */
function memory(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
