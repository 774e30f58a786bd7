import { spawn } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bytesOf } from "@swarmvit/shared/bytes";
import { initialParameters, initialStatistics } from "@swarmvit/shared/init";
import { parameterTable } from "@swarmvit/shared/parameters";
import type { EventRecord, MetricRecord, StepRecord } from "@swarmvit/shared/run";
import { afterEach, describe, expect, it } from "vitest";
import type { CoreSnapshot } from "../../packages/coordinator/src/core/messages.ts";
import {
  listCheckpoints,
  readNewestCheckpoint,
  writeCheckpoint,
} from "../../packages/coordinator/src/storage/checkpoint-store.ts";
import {
  openMetricsLog,
  readMetricsLog,
  repairMetrics,
} from "../../packages/coordinator/src/storage/metrics-log.ts";
import { nodeDisk } from "../../packages/coordinator/src/storage/node-disk.ts";
import { lockRun } from "../../packages/coordinator/src/storage/run-lock.ts";
import { initialVectorState } from "../../packages/coordinator/src/vectors/vector-state.ts";
import { connectTo, openCluster } from "../support/cluster.ts";

const directories: string[] = [];
const newDirectory = () => {
  const directory = mkdtempSync(join(tmpdir(), "swarmvit-test-"));
  directories.push(directory);
  return directory;
};
afterEach(() => {
  for (const directory of directories.splice(0))
    rmSync(directory, { recursive: true, force: true });
});

const table = parameterTable("xxs", 2);
const state = () =>
  initialVectorState(table, "f32", initialParameters(table, 1), initialStatistics(table));
const snapshot = (step: number, best?: number): CoreSnapshot => ({
  schema: 1,
  step,
  struck: [],
  evaluatedAt: 0,
  weights: { parameters: "", statistics: "", emaParameters: "", emaStatistics: "" },
  fence: 1,
  best: best === undefined ? undefined : { step: best, top1: 0.5 },
});

describe("checkpoints", () => {
  it("come back bit-equal; the last three and the best are kept", () => {
    const directory = newDirectory();
    const written = state();
    written.weights[3] = 1.25;
    written.steps = 5;
    for (const step of [1, 2, 3, 4, 5])
      writeCheckpoint(nodeDisk, directory, table, written, snapshot(step, 1));
    expect(listCheckpoints(nodeDisk, directory).map(({ step }) => step)).toEqual([1, 3, 4, 5]);
    expect(readdirSync(directory).sort()).toEqual([
      "MANIFEST.json",
      ...[1, 3, 4, 5].map((step) => `step-${step}.safetensors`),
    ]);
    const read = readNewestCheckpoint(nodeDisk, directory, table, () => {})!;
    expect(read.core).toEqual(JSON.parse(JSON.stringify(snapshot(5, 1))));
    expect(read.state.steps).toBe(5);
    for (const [name, vector] of Object.entries(written))
      if (vector instanceof Float32Array) {
        const got = bytesOf(read.state[name as "weights"]);
        expect([name, Buffer.compare(got, bytesOf(vector))]).toEqual([name, 0]);
      }
  });

  it.each([
    ["a flipped bit", (bytes: Buffer) => bytes.fill(bytes[99_999] ^ 1, 99_999, 100_000)],
    ["a cut", (bytes: Buffer) => bytes.subarray(0, 5000)],
  ])("with %s are passed over for the one before, aloud", (_, damage) => {
    const directory = newDirectory();
    writeCheckpoint(nodeDisk, directory, table, state(), snapshot(1));
    writeCheckpoint(nodeDisk, directory, table, state(), snapshot(2));
    const path = join(directory, "step-2.safetensors");
    writeFileSync(path, damage(readFileSync(path)));
    const lines: string[] = [];
    const read = readNewestCheckpoint(nodeDisk, directory, table, (line) => lines.push(line));
    expect(read?.core.step).toBe(1);
    expect(lines.join()).toMatch(/step-2\.safetensors is damaged.*trying the one before/);
    rmSync(join(directory, "step-1.safetensors"));
    expect(() => readNewestCheckpoint(nodeDisk, directory, table, () => {})).toThrow(
      /none of 2 checkpoints/,
    );
  });

  it("of another model are not taken", () => {
    const directory = newDirectory();
    writeCheckpoint(nodeDisk, directory, table, state(), snapshot(1));
    const lines: string[] = [];
    const other = parameterTable("xxs", 3);
    expect(() =>
      readNewestCheckpoint(nodeDisk, directory, other, (line) => lines.push(line)),
    ).toThrow();
    expect(lines.join()).toMatch(/classes 3 was expected \(got 2\)/);
  });
});

describe("the metrics log", () => {
  const step = (n: number) => ({ kind: "step", step: n }) as StepRecord;

  it("cuts a torn last line off and goes on behind it", () => {
    const path = join(newDirectory(), "metrics.jsonl");
    const first = openMetricsLog(nodeDisk, path);
    first.append(step(1));
    first.close();
    appendFileSync(path, '{"kind":"step","st');
    const second = openMetricsLog(nodeDisk, path);
    second.append(step(2));
    second.close();
    expect(readMetricsLog(nodeDisk, path)).toEqual([step(1), step(2)]);
  });

  it("gives up what a roll-back takes back", () => {
    const path = join(newDirectory(), "metrics.jsonl");
    const log = openMetricsLog(nodeDisk, path);
    for (const n of [1, 2, 3]) log.append(step(n));
    log.cut((record) => record.step <= 2);
    log.append(step(3));
    log.close();
    expect(readMetricsLog(nodeDisk, path)).toEqual([1, 2, 3].map(step));
  });

  it("lists each step once after a repair, with those that only the write-ahead log knows", () => {
    const path = join(newDirectory(), "metrics.jsonl");
    const event = { kind: "event", step: 9, what: "resumed" } as EventRecord;
    const log = openMetricsLog(nodeDisk, path);
    for (const record of [step(1), step(3), step(4), event, step(3), step(8)]) log.append(record);
    log.close();
    appendFileSync(path, '{"kind":"step","st');
    const sorted = (records: MetricRecord[]) =>
      records.filter(({ kind }) => kind === "step").map((record) => record.step);
    const got = repairMetrics(nodeDisk, path, 5, [2, 4, 5, 6].map(step));
    expect(sorted(got).sort()).toEqual([1, 2, 3, 4, 5]);
    expect(got.filter(({ kind }) => kind === "event")).toEqual([event]);
    expect(readMetricsLog(nodeDisk, path)).toEqual(got);
  });
});

describe("the lock", () => {
  it("is held by one, taken over from the dead, and given back", () => {
    const directory = newDirectory();
    const lock = lockRun(nodeDisk, directory);
    expect(() => lockRun(nodeDisk, directory)).toThrow(
      /in use by another coordinator \(process \d+\)/,
    );
    lock.release();
    expect(existsSync(join(directory, "lock"))).toBe(false);
    for (const stale of [
      JSON.stringify({ pid: 2 ** 22 + 1, boot: "another", nonce: "a" }),
      JSON.stringify({ pid: process.pid, boot: "another", nonce: "b" }),
      "no lock of ours",
    ]) {
      writeFileSync(join(directory, "lock"), stale);
      lockRun(nodeDisk, directory).release();
    }
    expect(readdirSync(directory)).toEqual([]);
  });

  it("stops a second coordinator on the same run", async () => {
    const directory = newDirectory();
    const cluster = await openCluster({ directory });
    await expect(openCluster({ directory, options: { resume: true } })).rejects.toThrow(/in use/);
    await cluster.close(true);
    await (await openCluster({ directory, options: { resume: true } })).close(true);
  });
});

describe("resuming", () => {
  const settings = { config: { maxSteps: 5 }, options: { checkpointEvery: 2 } };
  const stepsOf = (directory: string) =>
    readMetricsLog(nodeDisk, join(directory, "run", "metrics.jsonl"))
      .filter((record) => record.kind === "step")
      .map(({ step, weights, loss, grad_norm }) => ({ step, weights, loss, grad_norm }));
  const finish = async (directory: string, resume: boolean) => {
    const cluster = await openCluster({
      ...settings,
      directory,
      options: { ...settings.options, resume },
    });
    const volunteer = await cluster.join();
    volunteer.want(2);
    volunteer.serve();
    expect(await cluster.coordinator.finished).toEqual({ reason: "done" });
    await cluster.close(true);
    return cluster.lines;
  };
  it("after kill -9 recomputes what is missing to the same weights", async () => {
    const whole = newDirectory();
    await finish(whole, false);
    const killed = newDirectory();
    await killAtStep(killed, settings, 3);
    expect(stepsOf(killed).length).toBeGreaterThanOrEqual(3);
    const lines = await finish(killed, true);
    expect(lines.join()).toMatch(/resuming from step-\d\.safetensors/);
    expect(stepsOf(killed)).toEqual(stepsOf(whole));
    for (const file of ["last.safetensors", "best.safetensors"]) {
      const [got, expected] = [killed, whole].map((at) => readFileSync(join(at, "run", file)));
      expect([file, got.compare(expected)]).toEqual([file, 0]);
    }
  });

  it("refuses to begin anew over a run's checkpoints", async () => {
    const directory = newDirectory();
    writeCheckpoint(nodeDisk, join(directory, "run", "checkpoints"), table, state(), snapshot(1));
    await expect(openCluster({ directory })).rejects.toThrow(/holds checkpoints already.*--resume/);
  });
});

/** Runs the coordinator in a process of its own and kills it when `step` steps are published. */
async function killAtStep(directory: string, settings: object, step: number): Promise<void> {
  const script = fileURLToPath(new URL("../support/cluster-process.ts", import.meta.url));
  const child = spawn(
    process.execPath,
    ["--import", "tsx", script, directory, JSON.stringify(settings)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.once("data", (line: Buffer) => resolve(line.toString().trim()));
    child.once("exit", (code) => reject(new Error(`the coordinator ended with ${code}`)));
  });
  const connections = connectTo(url, table);
  const volunteer = await connections.join();
  volunteer.want(2);
  for (;;) {
    const lease = await volunteer.nextLease();
    if (lease.step >= step) break;
    await volunteer.upload(lease, volunteer.frameOf(lease));
  }
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
  connections.close();
}
