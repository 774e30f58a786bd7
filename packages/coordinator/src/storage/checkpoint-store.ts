/**
 * The checkpoints of a run: `checkpoints/step-<n>.safetensors` and `MANIFEST.json` beside them,
 * which names them with their hashes. A checkpoint counts once the manifest names it.
 */

import { createHash } from "node:crypto";
import { join } from "node:path";
import type { ParameterTable } from "@swarmvit/shared/parameters";
import type { CoreSnapshot } from "../core/messages.ts";
import type { VectorState } from "../vectors/vector-state.ts";
import {
  CHECKPOINT_SCHEMA,
  type Checkpoint,
  decodeCheckpoint,
  encodeCheckpoint,
} from "./checkpoint.ts";
import { crashPoint } from "./crash-point.ts";
import type { Disk } from "./disk.ts";
import { readText, removeTemporaryFiles, writeFileDurably } from "./durable-file.ts";

export interface CheckpointEntry {
  readonly file: string;
  readonly step: number;
  readonly bytes: number;
  readonly sha256: string;
  readonly schema: number;
}

/** Newest checkpoints that are kept, beside the best one. */
const KEPT = 3;
const MANIFEST = "MANIFEST.json";
const CHECKPOINT_NAME = /^step-\d+\.safetensors$/;

/** The manifest's entries, oldest first; empty where there is none yet. Errors on a broken manifest. */
export function listCheckpoints(disk: Disk, directory: string): CheckpointEntry[] {
  const path = join(directory, MANIFEST);
  const text = readText(disk, path);
  if (text === undefined) return [];
  const manifest: { schema: number; checkpoints: CheckpointEntry[] } = JSON.parse(text);
  if (manifest.schema !== CHECKPOINT_SCHEMA)
    throw new Error(
      `${path}: schema ${CHECKPOINT_SCHEMA} was expected (got ${manifest.schema}): this run was written by another version`,
    );
  return manifest.checkpoints;
}

/** Writes a checkpoint, names it in the manifest, and only then deletes older ones. */
export function writeCheckpoint(
  disk: Disk,
  directory: string,
  table: ParameterTable,
  state: VectorState,
  core: CoreSnapshot,
): CheckpointEntry {
  const file = `step-${core.step}.safetensors`;
  const parts = encodeCheckpoint(table, state, core);
  const written = writeFileDurably(disk, join(directory, file), parts);
  crashPoint("checkpoint-renamed");
  const entry = { file, step: core.step, ...written, schema: CHECKPOINT_SCHEMA };
  // After a rollback, what was later than this step is of another life of the run.
  const entries = listCheckpoints(disk, directory).filter(({ step }) => step < core.step);
  entries.push(entry);
  const kept = entries.filter(
    ({ step }, i) => i >= entries.length - KEPT || step === core.best?.step,
  );
  keepCheckpoints(disk, directory, kept);
  return entry;
}

/** Takes checkpoints later than `step` out of the manifest: a roll-back begins another life there. */
export function dropLaterCheckpoints(disk: Disk, directory: string, step: number): void {
  const entries = listCheckpoints(disk, directory);
  const kept = entries.filter((entry) => entry.step <= step);
  if (kept.length < entries.length) keepCheckpoints(disk, directory, kept);
}

/** The step from which the log must go on, so that each of the newest checkpoints leads to the end. */
export function oldestReplayed(disk: Disk, directory: string): number {
  return listCheckpoints(disk, directory).slice(-KEPT)[0]?.step ?? 0;
}

/**
 * The newest checkpoint that is whole, of those older than `before` steps; `warn` is told of each
 * that is not. Undefined where there is none yet; an error where there are some and none is whole.
 */
export function readNewestCheckpoint(
  disk: Disk,
  directory: string,
  table: ParameterTable,
  warn: (line: string) => void,
  before = Number.POSITIVE_INFINITY,
): (Checkpoint & { readonly entry: CheckpointEntry }) | undefined {
  const entries = listCheckpoints(disk, directory).filter(({ step }) => step < before);
  for (const entry of entries.toReversed()) {
    try {
      const bytes = disk.read(join(directory, entry.file));
      if (!bytes) throw new Error("the file is missing");
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      if (sha256 !== entry.sha256)
        throw new Error(`its SHA-256 is ${sha256}, MANIFEST.json says ${entry.sha256}`);
      return { ...decodeCheckpoint(bytes, table), entry };
    } catch (error) {
      warn(
        `checkpoint ${entry.file} is damaged (${error instanceof Error ? error.message : error}); trying the one before`,
      );
    }
  }
  if (entries.length === 0) return undefined;
  throw new Error(
    `${directory}: none of ${entries.length} checkpoints is whole: restore one from a backup, or start a run under another name`,
  );
}

/** Names exactly these in the manifest, and only then deletes the others. */
function keepCheckpoints(
  disk: Disk,
  directory: string,
  checkpoints: readonly CheckpointEntry[],
): void {
  const manifest = { schema: CHECKPOINT_SCHEMA, checkpoints };
  writeFileDurably(disk, join(directory, MANIFEST), [`${JSON.stringify(manifest, null, 1)}\n`]);
  crashPoint("manifest-renamed");
  removeTemporaryFiles(disk, directory);
  for (const name of disk.list(directory))
    if (CHECKPOINT_NAME.test(name) && !checkpoints.some(({ file }) => file === name))
      disk.remove(join(directory, name));
}
