import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { encodeFrame } from "@swarmvit/shared/frame";
import { readModel } from "@swarmvit/shared/model-weights";
import type { Lease } from "@swarmvit/shared/protocol";
import type { MetricRecord } from "@swarmvit/shared/run";
import { afterEach, describe, expect, it } from "vitest";
import type { Coordinator } from "../../packages/coordinator/src/coordinator.ts";
import { type Cluster, type ClusterSettings, openCluster } from "../support/cluster.ts";
import { contributionOf, frameIdOf } from "../support/cluster-gradient.ts";

let cluster: Cluster;
const open = async (settings?: ClusterSettings) => {
  cluster = await openCluster(settings);
  return cluster;
};
afterEach(() => cluster.close());

describe("a run of raw volunteers", () => {
  it("trains to the end and leaves its files, the same weights for one and for three", async () => {
    const hashes: string[][] = [];
    for (const count of [1, 3]) {
      const { coordinator, runDirectory, table } = await open({ config: { maxSteps: 3 } });
      for (let i = 0; i < count; i++) {
        const volunteer = await cluster.join();
        volunteer.want(2);
        volunteer.serve();
      }
      expect(await coordinator.finished).toEqual({ reason: "done" });
      const records = recordsOf(runDirectory);
      const steps = records.filter((record) => record.kind === "step");
      expect(steps.map(({ step }) => step)).toEqual([1, 2, 3]);
      hashes.push([...steps.map(({ weights }) => weights)]);
      const [evaluation] = records.filter((record) => record.kind === "eval");
      expect(evaluation).toMatchObject({ step: 3, samples: 8 });
      for (const [file, which] of [
        ["last.safetensors", "raw"],
        ["best.safetensors", "ema"],
      ]) {
        const model = readModel(readFileSync(join(runDirectory, file)), table);
        expect(model.metadata).toMatchObject({ which, step: "3", img_size: "32" });
      }
      expect(existsSync(join(runDirectory, "checkpoints", "step-3.safetensors"))).toBe(true);
      await cluster.close();
    }
    expect(hashes[0]).toEqual(hashes[1]);
    expect(new Set(hashes[0]).size).toBe(3);
  });

  type Wrong = [name: string, code: string, make: (lease: Lease, run: string) => Uint8Array];
  const mismatched: Wrong[] = [
    ["step", "STEP", (lease, run) => frameWith(lease, run, { step: 7 })],
    ["token", "TOKEN", (lease, run) => frameWith(lease, run, { token: "0".repeat(32) })],
    ["run", "RUN", (lease, run) => frameWith(lease, run, { run: "0".repeat(16) })],
    ["a flipped bit", "CHECKSUM", (lease, run) => flipped(frameWith(lease, run, {}))],
  ];
  const unusable: Wrong[] = [
    ["NaN", "NON_FINITE", (lease, run) => spoiled(lease, run, (g) => g.fill(Number.NaN, 77, 78))],
    ["zeros", "ZERO", (lease, run) => spoiled(lease, run, (g) => g.fill(0))],
    ["a zero tensor", "ZERO", (lease, run) => spoiled(lease, run, (g) => g.fill(0, 0, 432))],
  ];
  const frameWith = (lease: Lease, run: string, other: object) =>
    encodeFrame(
      { ...frameIdOf(lease, run), ...other },
      cluster.table,
      contributionOf(lease, cluster.table),
    );
  const spoiled = (lease: Lease, run: string, spoil: (gradient: Float32Array) => void) => {
    const contribution = contributionOf(lease, cluster.table);
    spoil(contribution.gradient);
    return encodeFrame(frameIdOf(lease, run), cluster.table, contribution);
  };
  const flipped = (frame: Uint8Array) => {
    frame[frame.length - 10] ^= 1;
    return frame;
  };

  const answerWrongly = async (name: string, code: string, make: Wrong[2]) => {
    const bad = await cluster.join({ name });
    bad.want(1);
    const lease = await bad.nextLease();
    // A wrong header is refused with the first chunk, all else by a verdict on the whole frame.
    const answer = await bad.upload(lease, make(lease, bad.welcome.run.id));
    expect(answer.ok ? await bad.verdictOf(lease) : answer).toMatchObject({ code });
    bad.want(0); // it would be given the next lease and not answer it
  };
  const finishRightly = async (coordinator: Coordinator) => {
    const good = await cluster.join({ name: "good" });
    good.want(4);
    good.serve();
    expect(await coordinator.finished).toEqual({ reason: "done" });
    const rows = coordinator.state().volunteers;
    expect(rows.find(({ name }) => name === "good")?.samples).toBe(8);
  };

  it("refuses what does not match its lease, each with its code, and leases it again", async () => {
    const { coordinator } = await open({ config: { maxSteps: 1 } });
    for (const [name, code, make] of mismatched) await answerWrongly(name, code, make);
    const codes = mismatched.map(([, code]) => [code, 1]);
    expect(coordinator.state().refusals).toEqual(Object.fromEntries(codes));
    await finishRightly(coordinator);
    for (const { name, accepted, refused } of coordinator.state().volunteers)
      if (name !== "good") expect([name, accepted, refused]).toEqual([name, 0, 1]);
  });

  it.each(unusable)("refuses %s as %s and leases it again", async (name, code, make) => {
    const { coordinator } = await open({ config: { maxSteps: 1 } });
    await answerWrongly(name, code, make);
    await finishRightly(coordinator);
  });

  it("refuses an offer of another size, and another's lease", async () => {
    const { coordinator } = await open({ config: { maxSteps: 1 } });
    const one = await cluster.join();
    const two = await cluster.join();
    one.want(1);
    const lease = await one.nextLease();
    const offer = (who: typeof one, bytes: number) =>
      who.socket.timeout(5000).emitWithAck("offer", { lease: lease.lease, bytes });
    expect(await offer(two, lease.bytes)).toMatchObject({ ok: false, code: "LEASE" });
    expect(await offer(one, lease.bytes + 1)).toMatchObject({ ok: false, code: "SIZE" });
    one.want(0);
    // Its program is wrong: the node went to others at once.
    expect(await offer(one, lease.bytes)).toMatchObject({ ok: false, code: "SIZE" });
    two.want(4);
    two.serve();
    expect(await coordinator.finished).toEqual({ reason: "done" });
  });
});

function recordsOf(runDirectory: string): MetricRecord[] {
  const lines = readFileSync(join(runDirectory, "metrics.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => JSON.parse(line));
}
