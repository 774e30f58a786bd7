/**
 * What the coordinator bears.
 *
 *   npx tsx bench/coordinator.ts sums [seconds]
 *     int8 contributions of S with 1000 classes checked, decoded and summed in tree order each
 *     second, in one thread and in two, as a share of copying the same bytes in memory.
 *   npx tsx bench/coordinator.ts loop [seconds] [volunteers] [why]
 *     delay and longest stalls of the event loop of a real coordinator (XS, int8) with volunteers on
 *     real sockets in another process: each fetches its deltas, waits a second and sends a contribution.
 */

import { fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { openCoordinator } from "@swarmvit/coordinator/coordinator";
import { type Join, openAssembly } from "@swarmvit/coordinator/core/assembly";
import { openNodeSums } from "@swarmvit/coordinator/vectors/node-sums";
import { verifyContribution } from "@swarmvit/coordinator/vectors/verify-contribution";
import { encodeFrame, type FrameId } from "@swarmvit/shared/frame";
import { type ParameterTable, parameterTable } from "@swarmvit/shared/parameters";
import type { Lease } from "@swarmvit/shared/protocol";
import { fill } from "@swarmvit/shared/random";
import { connectTo } from "../test/support/cluster.ts";
import { packTinyData, tinyConfig } from "../test/support/cluster-data.ts";
import { describeDelays, describeStall, watchStalls } from "./stalls.ts";

/** Behind the frame's header and report. */
const STATISTICS_AT = 80 + 24;
const SCRIPT = fileURLToPath(import.meta.url);
const [what = "sums", ...given] = process.argv.slice(2);

if (!isMainThread) parentPort?.postMessage(sumFor(workerData as number));
else if (what === "sums") await measureSums(Number(given[0] ?? 4));
else if (what === "loop")
  await measureLoop(Number(given[0] ?? 30), Number(given[1] ?? 32), given[2] === "why");
else if (what === "volunteers") await volunteer(given[0], Number(given[1]));
else throw new Error(`sums or loop was expected (got ${what})`);

async function measureSums(seconds: number): Promise<void> {
  const { bytes } = contributions(parameterTable("s", 1000), 1);
  const copies = copyFor(bytes, 1);
  console.log(
    `one contribution: ${(bytes / 1e6).toFixed(2)} MB; copied ${copies.toFixed(0)} times a second in one thread`,
  );
  for (const threads of [1, 2]) {
    const rates = await Promise.all(Array.from({ length: threads }, () => inThread(seconds)));
    const rate = rates.reduce((a, b) => a + b, 0);
    const share = (100 * rate) / (copies * threads);
    console.log(
      `${threads} thread${threads > 1 ? "s" : ""}: ${rate.toFixed(0)} a second, ${((rate * bytes) / 1e6).toFixed(0)} MB/s, ${share.toFixed(1)} % of a plain copy`,
    );
  }
}

function inThread(seconds: number): Promise<number> {
  return new Promise((resolve, reject) => {
    // A thread does not inherit the loader of TypeScript.
    const load = `import("tsx/esm/api").then(({ register }) => {
      register();
      return import(${JSON.stringify(import.meta.url)});
    })`;
    const thread = new Worker(load, { eval: true, workerData: seconds });
    thread.once("message", resolve);
    thread.once("error", reject);
  });
}

/** Steps of 16 contributions, as the coordinator's thread does them; contributions a second. */
function sumFor(seconds: number): number {
  const table = parameterTable("s", 1000);
  const { frames, ids } = contributions(table, 16);
  const sums = openNodeSums(table);
  // Statistics are summed in their frame's own memory, so they are put back for the next round.
  const [first, end] = [STATISTICS_AT, STATISTICS_AT + 4 * table.statisticsCount];
  const statistics = frames[0].slice(first, end);
  const step = (): void => {
    const assembly = openAssembly(ids.length);
    const perform = (joins: readonly Join[] = []): void => {
      for (const at of joins) {
        if (at.type === "alias") sums.alias(0, at.node, at.child);
        else {
          sums.add(0, at.node, at.left, at.right);
          perform(assembly.added(at.node));
        }
      }
    };
    ids.forEach((id, i) => {
      frames[i].set(statistics, first);
      const { report, ...vectors } = verifyContribution(
        frames[i],
        id,
        [{ height: 256, width: 256 }],
        table,
      );
      sums.fill(0, id, vectors);
      assembly.offer(id, i);
      perform(assembly.fill(id, report));
    });
    sums.recycle(sums.take(0, assembly.root).gradient);
  };
  step();
  const started = performance.now();
  let steps = 0;
  while (performance.now() - started < 1000 * seconds) {
    step();
    steps++;
  }
  return (1000 * steps * ids.length) / (performance.now() - started);
}

function copyFor(bytes: number, seconds: number): number {
  const [from, to] = [new Uint8Array(bytes).fill(3), new Uint8Array(bytes)];
  const started = performance.now();
  let copies = 0;
  while (performance.now() - started < 1000 * seconds) {
    to.set(from);
    copies++;
  }
  return (1000 * copies) / (performance.now() - started);
}

function contributions(table: ParameterTable, count: number) {
  const ids = Array.from({ length: count }, (_, index): FrameId => {
    const place = { step: 0, level: 0, index, samples: 8, lease: index };
    return {
      run: "0".repeat(16),
      kind: "gradient",
      codec: "int8",
      token: "0".repeat(32),
      ...place,
    };
  });
  const frames = ids.map((id) => frameOf(id, table));
  return { ids, frames, bytes: frames[0].byteLength };
}

function frameOf(id: FrameId, table: ParameterTable): Uint8Array {
  return encodeFrame(id, table, {
    report: { loss: 1, top1: 0, top5: 0, computeMs: 1 },
    statistics: new Float32Array(table.statisticsCount).fill(1),
    gradient: fill(`gradient ${id.index}`, table.parameterCount, 0, 1e-3),
  });
}

async function measureLoop(seconds: number, volunteers: number, why: boolean): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "swarmvit-bench-"));
  const shardsDirectory = join(directory, "shards");
  const coordinator = await openCoordinator({
    config: tinyConfig({
      model: "mobilevit_xs",
      codec: "int8",
      batchSize: 2 * volunteers,
      epochs: 10_000,
      maxSteps: 100_000,
    }),
    name: "bench",
    runDirectory: join(directory, "run"),
    dataset: packTinyData(shardsDirectory),
    shardsDirectory,
    build: "bench",
    resume: false,
    host: "127.0.0.1",
    port: 0,
    hostToken: "bench",
    log: (line) => console.error(line),
  });
  const child = fork(SCRIPT, ["volunteers", coordinator.url, String(volunteers)], {
    execArgv: ["--import", "tsx"],
  });
  while (coordinator.state().step < 2) await wait(100);
  const before = coordinator.state();
  const watch = await watchStalls(why);
  await watch.take();
  await wait(1000 * seconds);
  const taken = await watch.take();
  const after = coordinator.state();
  console.log(
    `${volunteers} volunteers of XS for ${seconds} s: ${after.step - before.step} steps, ${(((after.bytesIn - before.bytesIn) / seconds) * 1e-6).toFixed(1)} MB/s in, ${(((after.bytesOut - before.bytesOut) / seconds) * 1e-6).toFixed(1)} MB/s out`,
  );
  console.log(`event loop: ${describeDelays(taken)}`);
  for (const stall of taken.stalls) console.log(`  ${describeStall(stall)}`);
  child.kill();
  await coordinator.close();
  rmSync(directory, { recursive: true, force: true });
}

/** Raw volunteers: the payload is encoded once, each lease gets its own header. */
async function volunteer(url: string, count: number): Promise<void> {
  const table = parameterTable("xs", 2);
  const { join: joinRun } = connectTo(url, table);
  const payloads = new Map<string, Uint8Array>();
  await Promise.all(
    Array.from({ length: count }, async () => {
      const raw = await joinRun();
      raw.want(1);
      let from: string | undefined;
      for (;;) {
        const lease = await raw.nextLease();
        if (lease.kind === "gradient" && lease.weights !== from) {
          const delta = from
            ? await fetch(`${url}/weights/${lease.weights}?from=${from}`)
            : undefined;
          const answer = delta?.ok ? delta : await fetch(`${url}/weights/${lease.weights}`);
          await answer.arrayBuffer();
          from = lease.weights;
        }
        await wait(500 + 1000 * Math.random());
        await raw.upload(lease, frameFor(lease, raw.welcome.run.id, table, payloads));
      }
    }),
  );
}

function frameFor(
  lease: Lease,
  run: string,
  table: ParameterTable,
  payloads: Map<string, Uint8Array>,
): Uint8Array {
  const { kind, codec, step, level, index, samples, token } = lease;
  const id: FrameId = { run, kind, codec, step, level, index, samples, token, lease: lease.lease };
  if (kind === "evaluation") return frameOf(id, table);
  const frame = (payloads.get(codec) ?? frameOf(id, table)).slice();
  if (!payloads.has(codec)) payloads.set(codec, frame.slice());
  // The header's fields, as `frame.ts` lays them out; the checksum is of the payload alone.
  const view = new DataView(frame.buffer);
  for (const [at, value] of [
    [16, step],
    [20, level],
    [24, index],
    [28, samples],
  ])
    view.setUint32(at, value, true);
  view.setFloat64(32, lease.lease, true);
  frame.set(Buffer.from(token, "hex"), 56);
  return frame;
}
