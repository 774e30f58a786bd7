/** A Node volunteer as people start it, against a coordinator of a few lines on a real port. */

import { bytesOf } from "@swarmvit/shared/bytes";
import { decodeFrame } from "@swarmvit/shared/frame";
import { initialParameters, initialStatistics } from "@swarmvit/shared/init";
import { parameterTable } from "@swarmvit/shared/parameters";
import type { Lease, ShardRef } from "@swarmvit/shared/protocol";
import { encodeShard } from "@swarmvit/shared/shard";
import { runVolunteer } from "@swarmvit/worker/node/work";
import sharp from "sharp";
import { afterEach, beforeAll, expect, test } from "vitest";
import {
  type FakeCoordinator,
  openFakeCoordinator,
  tinyLease,
  tinyRun,
  trainingStatus,
  welcomeTo,
} from "../support/fake-coordinator.ts";

const table = parameterTable("xxs", 2);
let shard: Uint8Array;
let nextShard: Uint8Array;
let open: FakeCoordinator | undefined;

beforeAll(async () => {
  const image = (value: number) =>
    sharp({ create: { width: 32, height: 32, channels: 3, background: { r: value, g: 9, b: 90 } } })
      .png()
      .toBuffer();
  const samples = await Promise.all([10, 80, 160, 240].map(image));
  const broken = new Uint8Array(samples[2]).fill(0, 40);
  shard = encodeShard([
    { bytes: samples[0], label: 0 },
    { bytes: samples[1], label: 1 },
    { bytes: broken, label: 0 },
    { bytes: samples[3], label: 1 },
  ]);
  nextShard = encodeShard([{ bytes: samples[0], label: 1 }]);
});

afterEach(() => open?.close());

/** Publishes weights and the shard; what every lease of these tests names. */
function publishAll(coordinator: FakeCoordinator) {
  const ref: ShardRef = {
    sha256: coordinator.publish(shard),
    first: 0,
    count: 4,
    bytes: shard.length,
  };
  return {
    weights: coordinator.publish(bytesOf(initialParameters(table, 1))),
    statistics: coordinator.publish(bytesOf(initialStatistics(table))),
    shards: [ref],
  };
}

test("computes a gradient and an evaluation, sends exact frames, and ends with the run", async () => {
  const leases: Lease[] = [];
  open = await openFakeCoordinator({
    onMessage(coordinator, socket, event) {
      if (event === "want") {
        const { statistics, ...files } = publishAll(coordinator);
        const sha256 = coordinator.publish(nextShard);
        const ahead = [{ sha256, first: 4, count: 1, bytes: nextShard.length }];
        leases.push(
          tinyLease({ lease: 1, ...files, ahead }),
          tinyLease({ lease: 2, ...files, kind: "evaluation", statistics, level: 0, index: 1 }),
        );
        for (const lease of leases) socket.emit("lease", lease);
      }
      if (coordinator.frames.size === 2)
        socket.emit("status", { ...trainingStatus, phase: "done" });
    },
  });
  const lines: string[] = [];
  const end = await runVolunteer({
    url: `${open.url}/#a-token`,
    backend: "tfjs-cpu",
    name: "tester",
    log: (line) => lines.push(line),
  });

  expect(end).toEqual({ kind: "finished" });
  expect(open.hellos[0]).toMatchObject({
    token: "a-token",
    name: "tester",
    build: "node",
    device: { executor: "tfjs", deterministic: true },
  });
  expect(open.wants[0]).toEqual({ leases: 2 });
  expect(lines.some((line) => line.includes("a-token"))).toBe(false);
  expect(open.requests.some((path) => path.includes("a-token"))).toBe(false);
  const [ahead] = leases[0].ahead ?? [];
  expect(open.requests).toContain(`/shards/${ahead.sha256}`); // though no lease needed it yet
  const gradient = decodeFrame(open.frames.get(1)!, { ...leases[0], run: tinyRun.id }, table);
  expect(gradient.report.loss).toBeGreaterThan(0);
  expect(gradient.gradient.some((g) => g !== 0)).toBe(true);
  const evaluation = decodeFrame(open.frames.get(2)!, { ...leases[1], run: tinyRun.id }, table);
  expect(evaluation.report.top5).toBe(2); // two classes: everything is in the top five
});

test("names the sample that cannot be decoded, and stays for the next lease", async () => {
  open = await openFakeCoordinator({
    onMessage(coordinator, socket, event) {
      const { statistics: _, ...files } = publishAll(coordinator);
      const units = [{ index: 0, height: 32, width: 32, samples: [0, 2], seed: 7 }];
      if (event === "want") socket.emit("lease", tinyLease({ lease: 5, ...files, units }));
      if (event === "abandon") socket.emit("lease", tinyLease({ lease: 6, ...files }));
      if (coordinator.frames.has(6)) socket.emit("status", { ...trainingStatus, phase: "done" });
    },
  });
  const end = await runVolunteer({ url: open.url, backend: "tfjs-cpu", log: () => {} });
  expect(end.kind).toBe("finished");
  expect(open.abandons).toMatchObject([{ lease: 5, reason: "undecodable", sample: 2 }]);
});

test("an interrupted volunteer hands its work back and says goodbye", async () => {
  const events: string[] = [];
  const stop = new AbortController();
  open = await openFakeCoordinator({
    onMessage(coordinator, socket, event) {
      events.push(event);
      if (event !== "want") return;
      const { statistics: _, ...files } = publishAll(coordinator);
      socket.emit("lease", tinyLease({ lease: 9, ...files }));
      stop.abort(new Error("interrupted"));
    },
  });
  const end = await runVolunteer({
    url: open.url,
    backend: "tfjs-cpu",
    log: () => {},
    signal: stop.signal,
  });
  expect(end).toEqual({ kind: "interrupted" });
  await expect.poll(() => events).toContain("leave");
});

test("a link without its token, and another version, end with what to do", async () => {
  open = await openFakeCoordinator({
    welcome: () => ({ ok: false, code: "JOIN_TOKEN", message: "wrong token" }),
  });
  const refused = await runVolunteer({ url: open.url, backend: "tfjs-cpu", log: () => {} });
  expect(refused).toMatchObject({ kind: "problem", problem: "join-token" });
  await open.close();
  open = await openFakeCoordinator({
    welcome: () => ({ ok: false, code: "PROTOCOL", message: "protocol 2 was expected (got 1)" }),
  });
  const outdated = await runVolunteer({ url: open.url, backend: "tfjs-cpu", log: () => {} });
  expect(outdated).toMatchObject({ kind: "problem", problem: "outdated" });
  expect(outdated.kind === "problem" && outdated.message).toMatch(/git pull/);
});

test("comes back after a lost link with its id and secret, and its frame arrives whole", async () => {
  let cut = false;
  open = await openFakeCoordinator({
    welcome: () => welcomeTo(tinyRun),
    onMessage(coordinator, socket, event) {
      const { statistics: _, ...files } = publishAll(coordinator);
      if (event === "want" && coordinator.wants.length === 1)
        socket.emit("lease", tinyLease({ lease: 3, ...files }));
      if (event === "chunk" && !cut) {
        cut = true;
        socket.conn.close();
      }
      if (coordinator.frames.has(3)) socket.emit("status", { ...trainingStatus, phase: "done" });
    },
  });
  const end = await runVolunteer({ url: open.url, backend: "tfjs-cpu", log: () => {} });
  expect(end.kind).toBe("finished");
  expect(open.hellos).toHaveLength(2);
  expect(open.hellos[0].resume).toBeUndefined();
  expect(open.hellos[1].resume).toEqual({ id: "v1", secret: "s1" });
  expect(() =>
    decodeFrame(open!.frames.get(3)!, { ...tinyLease({ lease: 3 }), run: tinyRun.id }, table),
  ).not.toThrow();
});
