/**
 * What durability costs a step: commits with the write-ahead log on the disk, and on a disk that
 * keeps nothing, interleaved in one run; and how long a step takes to replay.
 *
 *   npx tsx bench/commit-log.ts [variant] [classes] [codec] [steps] [directory]
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Codec } from "@swarmvit/shared/codec";
import { encodeFrame, type FrameId } from "@swarmvit/shared/frame";
import { initialParameters, initialStatistics } from "@swarmvit/shared/init";
import { parameterTable } from "@swarmvit/shared/parameters";
import type { VariantName } from "@swarmvit/shared/variants";
import type { StepLog } from "../packages/coordinator/src/core/messages.ts";
import type { Disk } from "../packages/coordinator/src/storage/disk.ts";
import { nodeDisk } from "../packages/coordinator/src/storage/node-disk.ts";
import type { VectorSetup } from "../packages/coordinator/src/vectors/vector-port.ts";
import { openVectorWork } from "../packages/coordinator/src/vectors/vector-work.ts";

const [variant = "xxs", classes = "1000", codec = "int8", steps = "30", at = tmpdir()] =
  process.argv.slice(2);
const table = parameterTable(variant as VariantName, Number(classes));
const root = mkdtempSync(join(at, "swarmvit-commit-"));
const setup: VectorSetup = {
  ...{ variant: variant as VariantName, codec: codec as Codec, recipe: "small", weightDecay: 0.01 },
  classes: Array.from({ length: Number(classes) }, (_, i) => String(i)),
  checkpointDirectory: join(root, "checkpoints"),
  logDirectory: join(root, "wal"),
};
const nowhere: Disk = {
  ...nodeDisk,
  create: () => ({
    ...{ write() {}, truncate() {}, sync() {}, close() {} },
    syncInBackground: async () => {},
  }),
  makeDirectory() {},
  syncDirectory() {},
};
const gradient = initialParameters(table, 5).map((x, i) => x * 1e-3 + (i % 2 ? 1e-5 : -1e-5));
const statistics = initialStatistics(table).map((x) => 4 * (x + 0.1));
const root0 = { level: 0, index: 0 };

function logOf(step: number): StepLog {
  return {
    core: { schema: 1, step: step + 1, struck: [], evaluatedAt: 0, fence: 1 },
    record: {
      ...{ kind: "step", step: step + 1, epoch: 0, time: step, loss: 1, top1: 0, lr: 0.01 },
      ...{ samples: 4, images_per_second: 1, seconds: 1, workers: 1, bytes_in: 0, bytes_out: 0 },
      ...{ resolutions: {}, weights: "" },
    } as StepLog["record"],
    cursor: 4 * (step + 1),
    leases: [],
  };
}

try {
  const works = [nodeDisk, nowhere].map((disk) => openVectorWork(setup, disk));
  for (const work of works) {
    work.initialize(initialParameters(table, 1), initialStatistics(table));
    work.replay();
  }
  const times: number[][] = [[], []];
  for (let step = 0; step < Number(steps); step++)
    for (const [i, work] of works.entries()) {
      const id: FrameId = {
        ...{ run: "0123456789abcdef", kind: "gradient", codec: codec as Codec, step, ...root0 },
        ...{ samples: 4, lease: step, token: "00112233445566778899aabbccddeeff" },
      };
      const report = { loss: 1, top1: 0, top5: 2, computeMs: 1 };
      const frame = encodeFrame(id, table, { report, statistics, gradient });
      const result = work.verify(frame, id, [{ height: 64, width: 64 }]);
      if (!result.ok) throw new Error(result.detail);
      const startedAt = performance.now();
      const commitment = await work.commit(step, root0, 4, 1e-4, logOf(step), false);
      if ("unlogged" in commitment) throw new Error(commitment.unlogged);
      times[i].push(performance.now() - startedAt);
      for (const { bytes } of commitment.vectors) work.recycle(bytes); // as the shell, a little later
    }
  const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1];
  const [logged, bare] = times.map(median);
  const bytes = nodeDisk.size(join(setup.logDirectory, "step-0.log")) ?? 0;
  const restarted = openVectorWork(setup, nodeDisk);
  restarted.initialize(initialParameters(table, 1), initialStatistics(table));
  const startedAt = performance.now();
  const replayed = restarted.replay();
  const replay = (performance.now() - startedAt) / replayed.records.length;
  console.log(
    `${variant}, ${classes} classes, ${codec}: commit ${logged.toFixed(1)} ms with the log, ${bare.toFixed(1)} ms without (medians of ${steps}, ratio ${(logged / bare).toFixed(2)}); ${(bytes / Number(steps) / 1e6).toFixed(2)} MB a record; replay ${replay.toFixed(1)} ms a step`,
  );
} finally {
  rmSync(root, { recursive: true, force: true });
}
