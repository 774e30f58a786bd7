/** What is moved is counted, both ways and all of it: frames, weights, shards, pages, sockets' words. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Lease } from "@swarmvit/shared/protocol";
import type { MetricRecord, StepRecord } from "@swarmvit/shared/run";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Cluster, openCluster, type RawVolunteer } from "../support/cluster.ts";

let cluster: Cluster;
let volunteer: RawVolunteer;
let lease: Lease;
beforeAll(async () => {
  cluster = await openCluster();
  volunteer = await cluster.join();
  volunteer.want(1);
  lease = await volunteer.nextLease();
});
afterAll(() => cluster.close());

const counted = () => {
  const { bytesIn, bytesOut } = cluster.coordinator.state();
  return { bytesIn, bytesOut };
};

/** What has been counted when at least so much has. */
function reaches(least: Partial<ReturnType<typeof counted>>) {
  return new Promise<ReturnType<typeof counted>>((resolve) => {
    const look = () => {
      const now = counted();
      if (now.bytesIn < (least.bytesIn ?? 0) || now.bytesOut < (least.bytesOut ?? 0)) return;
      off();
      resolve(now);
    };
    const off = cluster.coordinator.onState(look);
    look();
  });
}

it("a page load, weights and shards count by their bytes, once, and headers a little", async () => {
  const { url } = cluster.coordinator;
  for (const path of [`weights/${lease.weights}`, `shards/${lease.shards[0].sha256}`, "healthz"]) {
    const before = counted();
    const response = await fetch(`${url}/${path}`);
    const bytes = (await response.arrayBuffer()).byteLength;
    const after = await reaches({ bytesOut: before.bytesOut + bytes });
    const headers = after.bytesOut - before.bytesOut - bytes;
    expect([path, headers > 0 && headers < 4096]).toEqual([path, true]);
    expect(after.bytesIn - before.bytesIn).toBeGreaterThan(path.length);
  }
});

it("each step's line has the frames of its units; the lines and the state say the same", async () => {
  const frameBytes: number[] = [];
  volunteer.socket.on("lease", ({ step, bytes }) => {
    frameBytes[step] = (frameBytes[step] ?? 0) + bytes;
  });
  await volunteer.upload(lease, volunteer.frameOf(lease));
  volunteer.serve();
  await cluster.coordinator.finished;
  const steps = readFileSync(join(cluster.runDirectory, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line): MetricRecord => JSON.parse(line))
    .filter((record): record is StepRecord => record.kind === "step");
  expect(steps).toHaveLength(3);
  for (const { step, bytes_in: bytes } of steps.slice(1)) {
    const frames = frameBytes[step - 1];
    expect([step, bytes >= frames * 0.5 && bytes < frames * 1.6]).toEqual([step, true]);
  }
  const all = steps.reduce((sum, { bytes_in: bytes }) => sum + bytes, 0);
  const { bytesIn } = await reaches({ bytesIn: all });
  expect(bytesIn - all).toBeLessThan(10_000); // what was said after the last step
  const text = await (await fetch(`${cluster.coordinator.url}/metrics`)).text();
  const [, metered] = text.match(/^swarmvit_run_bytes_in_total (\d+)$/m) ?? [];
  expect(Number(metered)).toBeGreaterThanOrEqual(all);
});
