/** How a run's weights travel with each codec, through a real coordinator and a volunteer's downloads. */

import { floatsOf } from "@swarmvit/shared/bytes";
import type { Codec } from "@swarmvit/shared/codec";
import type { Lease } from "@swarmvit/shared/protocol";
import { decodeDeltas, deltaBytes } from "@swarmvit/shared/published-weights";
import { sha256Hex } from "@swarmvit/shared/sha256";
import { openDownloads } from "@swarmvit/worker/client/download";
import { afterEach, describe, expect, test } from "vitest";
import { type Cluster, openCluster, type RawVolunteer } from "../support/cluster.ts";

let cluster: Cluster;
afterEach(() => cluster.close());

/** Answers leases until one of a newer step, which is left unanswered. */
async function nextStep(volunteer: RawVolunteer, after: number): Promise<Lease> {
  for (;;) {
    const lease = await volunteer.nextLease();
    if (lease.kind === "gradient" && lease.step > after) return lease;
    await volunteer.upload(lease, volunteer.frameOf(lease));
  }
}

/** The hashes of the first `count` versions, the volunteer's last lease being of the newest. */
async function versions(codec: Codec, count: number) {
  cluster = await openCluster({ config: { codec, maxSteps: 50 } });
  const volunteer = await cluster.join();
  volunteer.want(1);
  const hashes: string[] = [];
  for (let step = 0; step < count; step++) {
    const lease = await nextStep(volunteer, step - 1);
    hashes.push(lease.weights);
    if (step < count - 1) await volunteer.upload(lease, volunteer.frameOf(lease));
  }
  return hashes;
}

const fetchBytes = async (path: string) => {
  const response = await fetch(`${cluster.coordinator.url}/weights/${path}`);
  return {
    status: response.status,
    headers: response.headers,
    body: new Uint8Array(await response.arrayBuffer()),
  };
};

describe("int8", () => {
  test("one delta a version, two to catch up, all of it from further back", async () => {
    const [p0, p1, p2, p3] = await versions("int8", 4);
    expect(new Set([p0, p1, p2, p3]).size).toBe(4);
    const { table } = cluster;
    const first = floatsOf((await fetchBytes(p1)).body);
    const one = await fetchBytes(`${p2}?from=${p1}`);
    expect(one.body.byteLength).toBe(deltaBytes(table));
    expect(one.headers.get("cache-control")).toContain("immutable");
    expect(one.headers.get("etag")).toBe(`"${p2}-${p1}"`);
    const hashOf = (vector: Float32Array) => sha256Hex(new Uint8Array(vector.buffer));
    expect(hashOf(decodeDeltas(table, one.body, first))).toBe(p2);
    const two = await fetchBytes(`${p3}?from=${p1}`);
    expect(two.body.byteLength).toBe(2 * deltaBytes(table));
    expect(hashOf(decodeDeltas(table, two.body, first))).toBe(p3);
    expect((await fetchBytes(`${p3}?from=${p0}`)).status).toBe(404);
    expect((await fetchBytes(`${p3}?from=${p3}`)).status).toBe(404);
    const whole = await fetchBytes(p3);
    expect(whole.body.byteLength).toBe(4 * table.parameterCount);
    expect(sha256Hex(whole.body)).toBe(p3);
  });

  test("a volunteer goes from version to version, and takes all of it where it fell behind", async () => {
    const [p0, p1, p2, p3] = await versions("int8", 4);
    const { table, coordinator } = cluster;
    const downloads = openDownloads({ origin: coordinator.url, codec: "int8", table, retryMs: [] });
    const hashOf = (vector: Float32Array) => sha256Hex(new Uint8Array(vector.buffer));
    for (const name of [p1, p2, p3]) expect(hashOf(await downloads.published(name))).toBe(name);
    // p0 has been dropped by now.
    await expect(downloads.published(p0)).rejects.toThrow(/HTTP 404/);
    const late = openDownloads({ origin: coordinator.url, codec: "int8", table, retryMs: [] });
    expect(hashOf(await late.published(p1))).toBe(p1);
    expect(hashOf(await late.published(p3))).toBe(p3);
  });
});

test("f16: half the bytes, and only there", async () => {
  const [, p1] = await versions("f16", 2);
  const { table, coordinator } = cluster;
  expect((await fetchBytes(`${p1}?codec=f16`)).body.byteLength).toBe(2 * table.parameterCount);
  const downloads = openDownloads({ origin: coordinator.url, codec: "f16", table, retryMs: [] });
  const vector = await downloads.published(p1);
  expect(sha256Hex(new Uint8Array(vector.buffer))).toBe(p1);
  await cluster.close();
  const [exact] = await versions("f32", 1);
  expect((await fetchBytes(`${exact}?codec=f16`)).status).toBe(404);
});
