/**
 * What the coordinator's work takes that `swarmvit simulate` assumes (`COSTS` in simulate/scenarios.ts):
 * XXS with 1000 classes in int8, contributions arriving in a random order.
 *
 *   npx tsx bench/costs.ts [contributions] [steps]
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Join, openAssembly } from "@swarmvit/coordinator/core/assembly";
import type { StepLog } from "@swarmvit/coordinator/core/messages";
import { nodeDisk } from "@swarmvit/coordinator/storage/node-disk";
import { openVectorWork } from "@swarmvit/coordinator/vectors/vector-work";
import { encodeFrame, type FrameId } from "@swarmvit/shared/frame";
import { initialParameters, initialStatistics } from "@swarmvit/shared/init";
import { parameterTable } from "@swarmvit/shared/parameters";
import { uniform } from "@swarmvit/shared/random";
import { machineLine } from "./machine-line.ts";

const [contributions = 64, steps = 12] = process.argv.slice(2).map(Number);
const table = parameterTable("xxs", 1000);
const root = mkdtempSync(join(tmpdir(), "swarmvit-costs-"));
const work = openVectorWork(
  {
    ...{ variant: "xxs", codec: "int8", recipe: "small", weightDecay: 0.01 },
    classes: Array.from({ length: 1000 }, (_, i) => String(i)),
    checkpointDirectory: join(root, "checkpoints"),
    logDirectory: join(root, "wal"),
  },
  nodeDisk,
);
const report = { loss: 1, top1: 0, top5: 2, computeMs: 1 };
const statistics = initialStatistics(table).map((x) => 4 * (x + 0.1));
const gradient = initialParameters(table, 5).map((x, i) => x * 1e-3 + (i % 2 ? 1e-5 : -1e-5));
const core = (step: number) => ({ schema: 1 as const, step, struck: [], evaluatedAt: 0, fence: 1 });
const took = { verify: [], add: [], commit: [], checkpoint: [] } as Record<string, number[]>;

const frameOf = (id: FrameId, memory: Uint8Array | undefined) => {
  const frame = encodeFrame(id, table, { report, statistics, gradient });
  if (memory?.byteLength !== frame.byteLength) return frame;
  memory.set(frame); // as an upload, in the memory of a frame that is used up
  return memory;
};

async function step(at: number, spent: Uint8Array[]): Promise<Uint8Array[]> {
  const order = Array.from({ length: contributions }, (_, i) => i).sort(
    (a, b) => uniform(at, a) - uniform(at, b),
  );
  const assembly = openAssembly(contributions);
  const times = { verify: 0, add: 0 };
  const timed = <T>(what: "verify" | "add", act: () => T): T => {
    const startedAt = performance.now();
    const result = act();
    times[what] += performance.now() - startedAt;
    return result;
  };
  const perform = (joins: readonly Join[] = []) => {
    for (const { node, ...rest } of joins)
      if (rest.type === "alias") work.alias(at, node, rest.child);
      else {
        timed("add", () => work.add(at, node, rest.left, rest.right));
        perform(assembly.added(node));
      }
  };
  for (const index of order) {
    const id: FrameId = {
      ...{ run: "0123456789abcdef", kind: "gradient", codec: "int8", step: at, level: 0, index },
      ...{ samples: 4, lease: index, token: "00112233445566778899aabbccddeeff" },
    };
    const frame = frameOf(id, spent.pop());
    assembly.offer(id, index);
    const verified = timed("verify", () => work.verify(frame, id, [{ height: 256, width: 256 }]));
    if (!verified.ok) throw new Error(verified.detail);
    perform(assembly.fill(id, verified.report));
  }
  const log: StepLog = {
    core: core(at + 1),
    record: {
      ...{ kind: "step", step: at + 1, epoch: 0, time: at, loss: 1, top1: 0, lr: 0.01 },
      ...{ samples: 4, images_per_second: 1, seconds: 1, workers: 1, bytes_in: 0, bytes_out: 0 },
      ...{ resolutions: {}, weights: "" },
    },
    cursor: 4 * (at + 1),
    leases: [],
  };
  const committing = performance.now();
  const done = await work.commit(at, assembly.root, 4 * contributions, 1e-4, log, false);
  if ("unlogged" in done) throw new Error(done.unlogged);
  took.commit.push(performance.now() - committing);
  took.verify.push(times.verify / contributions);
  took.add.push(times.add / (contributions - 1));
  work.forget(at);
  for (const { bytes } of done.vectors) work.recycle(bytes);
  const saving = performance.now();
  work.checkpoint({ ...core(at + 1), weights: done.weights });
  took.checkpoint.push(performance.now() - saving);
  return [...done.spent];
}

try {
  work.initialize(initialParameters(table, 1), initialStatistics(table));
  let spent: Uint8Array[] = [];
  for (let at = 0; at < steps; at++) spent = await step(at, spent);
  console.log(machineLine());
  for (const [what, times] of Object.entries(took)) {
    const sorted = times.slice(2).sort((a, b) => a - b); // two warm the engine up
    const median = sorted[sorted.length >> 1];
    console.log(`${what}: ${median.toFixed(2)} ms (median of ${sorted.length} steps)`);
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
