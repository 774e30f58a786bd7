// SIGKILL at every named place of the commit path, one life after another in one run directory.
// What volunteers were told is the oracle: it is never lost, and never told otherwise.

import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parameterTable } from "@swarmvit/shared/parameters";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CRASH_POINTS } from "../../packages/coordinator/src/storage/crash-point.ts";
import { readMetricsLog } from "../../packages/coordinator/src/storage/metrics-log.ts";
import { nodeDisk } from "../../packages/coordinator/src/storage/node-disk.ts";
import { connectTo, openCluster } from "../support/cluster.ts";

const SETTINGS = { config: { maxSteps: 16 }, options: { checkpointEvery: 2, inline: true } };
const table = parameterTable("xxs", 2);
/** Compiled, and found beside the code that loads them. */
const KERNELS = fileURLToPath(
  new URL("../../packages/coordinator/src/vectors/build", import.meta.url),
);

let root: string;
/** Hash of the weights after each number of steps, in a run that nothing happened to. */
let hashes: string[];

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "swarmvit-crash-"));
  // In one file the coordinator starts several times as fast, and it starts often here.
  await build({
    entryPoints: [fileURLToPath(new URL("../support/cluster-process.ts", import.meta.url))],
    outfile: join(root, "coordinator.mjs"),
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "error",
    banner: {
      js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
  });
  cpSync(KERNELS, join(root, "build"), { recursive: true });
  const cluster = await openCluster({ ...SETTINGS, directory: join(root, "calm") });
  const volunteer = await cluster.join();
  volunteer.want(2);
  volunteer.serve();
  await cluster.coordinator.finished;
  await cluster.close(true);
  hashes = linesOf("calm").map(({ weights }) => weights);
}, 180_000);
afterAll(() => rmSync(root, { recursive: true, force: true }));

it("a run killed at each of them ends like one that was never killed", async () => {
  let told = 0; // steps that somebody was told are done
  for (const point of [...CRASH_POINTS, undefined]) {
    const life = await live("killed", point, point !== CRASH_POINTS[0]);
    expect([point, life.signal]).toEqual([point, point && "SIGKILL"]);
    for (const [step, weights] of life.told) {
      expect([point, step, weights]).toEqual([point, step, hashes[step]]);
      expect(step, `${point}: steps that were told are not taken back`).toBeGreaterThanOrEqual(
        told,
      );
    }
    told = Math.max(told, ...life.told.keys());
  }
  const lines = linesOf("killed");
  expect(lines.map(({ step }) => step)).toEqual(hashes.map((_, i) => i + 1));
  expect(lines.map(({ weights }) => weights)).toEqual(hashes);
}, 300_000);

/** One life of the coordinator, until it is killed at `point` or done, with two volunteers. */
async function live(name: string, point: string | undefined, resume: boolean) {
  const settings = { ...SETTINGS, options: { ...SETTINGS.options, resume } };
  const child = spawn(
    process.execPath,
    [join(root, "coordinator.mjs"), join(root, name), JSON.stringify(settings)],
    {
      stdio: ["ignore", "pipe", "inherit"],
      // The first file that is written whole is run.json: the second is a checkpoint.
      env: {
        ...process.env,
        SWARMVIT_CRASH_AT: point && `${point}:${point === "file-written" ? 2 : 1}`,
      },
    },
  );
  const ended = new Promise<NodeJS.Signals | null>((resolve) => {
    child.once("exit", (_, signal) => resolve(signal));
  });
  const told = new Map<number, string>();
  const url = await Promise.race([
    ended.then(() => undefined),
    new Promise<string>((resolve) => {
      child.stdout.once("data", (line: Buffer) => resolve(line.toString().trim()));
    }),
  ]);
  if (url === undefined) return { told, signal: await ended };
  const connections = connectTo(url, table);
  try {
    await Promise.all(
      [0, 1].map(async () => {
        const volunteer = await connections.join();
        volunteer.socket.on("lease", ({ kind, step, weights }) => {
          if (kind === "gradient") told.set(step, weights);
        });
        volunteer.socket.on("notice", ({ code }) => {
          if (code === "FINISHED") child.kill("SIGTERM");
        });
        volunteer.want(2);
        volunteer.serve();
      }),
    ).catch(() => {}); // it was killed while they joined
    const signal = await ended;
    return { told, signal: signal === "SIGTERM" ? undefined : (signal ?? undefined) };
  } finally {
    connections.close();
  }
}

function linesOf(name: string) {
  const records = readMetricsLog(nodeDisk, join(root, name, "run", "metrics.jsonl"));
  return records.filter((record) => record.kind === "step");
}
