// A disk without room, under a real coordinator: training pauses, pages stay up, and it goes on.

import { join } from "node:path";
import type { RunState } from "@swarmvit/shared/run";
import { afterEach, expect, it } from "vitest";
import type { Coordinator } from "../../packages/coordinator/src/coordinator.ts";
import type { Disk, DiskFile } from "../../packages/coordinator/src/storage/disk.ts";
import { readMetricsLog } from "../../packages/coordinator/src/storage/metrics-log.ts";
import { nodeDisk } from "../../packages/coordinator/src/storage/node-disk.ts";
import { type Cluster, openCluster } from "../support/cluster.ts";

let cluster: Cluster;
afterEach(() => cluster.close());

/** The real file system, with room that a test can take away. */
function openLimitedDisk() {
  const limit = { full: false };
  const limited = (file: DiskFile): DiskFile => ({
    ...file,
    write(bytes, position) {
      if (limit.full) throw Object.assign(new Error("ENOSPC: no space left"), { code: "ENOSPC" });
      file.write(bytes, position);
    },
  });
  const disk: Disk = {
    ...nodeDisk,
    create: (path) => limited(nodeDisk.create(path)),
    open: (path) => limited(nodeDisk.open(path)),
  };
  return { disk, limit };
}

const stateWhen = (coordinator: Coordinator, isIt: (state: RunState) => boolean) =>
  new Promise<RunState>((resolve) => {
    const stop = coordinator.onState((state) => {
      if (!isIt(state)) return;
      stop();
      resolve(state);
    });
  });

it("pauses training with the reason, serves on, and goes on by itself when there is room", async () => {
  const { disk, limit } = openLimitedDisk();
  cluster = await openCluster({ config: { maxSteps: 5 }, options: { inline: true, disk } });
  const { coordinator, runDirectory } = cluster;
  const paused = stateWhen(coordinator, ({ phase }) => phase === "paused");
  coordinator.onRecord((record) => {
    if (record.kind === "step" && record.step === 2) limit.full = true;
  });
  const volunteer = await cluster.join();
  volunteer.want(2);
  volunteer.serve();

  expect(await paused).toMatchObject({
    step: 2,
    reason: expect.stringMatching(/ENOSPC.*by itself/),
  });
  const get = (path: string) => fetch(new URL(path, coordinator.url));
  expect(await (await get("/api/run")).json()).toMatchObject({ phase: "paused", step: 2 });
  expect((await get("/api/history?since=0")).status).toBe(200);
  expect(await (await get("/healthz")).json()).toMatchObject({ ok: false });

  limit.full = false;
  expect(await coordinator.finished).toEqual({ reason: "done" });
  expect(await (await get("/healthz")).json()).toMatchObject({ ok: true });
  const records = readMetricsLog(nodeDisk, join(runDirectory, "metrics.jsonl"));
  const steps = records.flatMap((record) => (record.kind === "step" ? [record.step] : []));
  expect(steps).toEqual([1, 2, 3, 4, 5]);
  const events = records.flatMap((record) => (record.kind === "event" ? [record.what] : []));
  expect(events).toEqual(expect.arrayContaining(["commit-failed", "disk-accepts"]));
});
