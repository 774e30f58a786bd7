/**
 * The checkpoints of a run: `checkpoints/step-<n>.safetensors` and `MANIFEST.json` beside them,
 * which names them with their hashes. A checkpoint counts once the manifest names it.
 */

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
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
import { removeTemporaryFiles, writeFileDurably } from "./durable-file.ts";

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
export function listCheckpoints(directory: string): CheckpointEntry[] {
  const path = join(directory, MANIFEST);
  if (!existsSync(path)) return [];
  const manifest: { schema: number; checkpoints: CheckpointEntry[] } = JSON.parse(
    readFileSync(path, "utf8"),
  );
  if (manifest.schema !== CHECKPOINT_SCHEMA)
    throw new Error(
      `${path}: schema ${CHECKPOINT_SCHEMA} was expected (got ${manifest.schema}): this run was written by another version`,
    );
  return manifest.checkpoints;
}

/** Writes a checkpoint, names it in the manifest, and only then deletes older ones. */
export function writeCheckpoint(
  directory: string,
  table: ParameterTable,
  state: VectorState,
  core: CoreSnapshot,
): CheckpointEntry {
  mkdirSync(directory, { recursive: true });
  const file = `step-${core.step}.safetensors`;
  const parts = encodeCheckpoint(table, state, core);
  const written = writeFileDurably(join(directory, file), parts);
  const entry = { file, step: core.step, ...written, schema: CHECKPOINT_SCHEMA };
  // After a rollback, what was later than this step is of another life of the run.
  const entries = listCheckpoints(directory).filter(({ step }) => step < core.step);
  entries.push(entry);
  const kept = entries.filter(
    ({ step }, i) => i >= entries.length - KEPT || step === core.best?.step,
  );
  writeManifest(directory, kept);
  removeTemporaryFiles(directory);
  for (const name of readdirSync(directory))
    if (CHECKPOINT_NAME.test(name) && !kept.some((entry) => entry.file === name))
      rmSync(join(directory, name), { force: true });
  return entry;
}

/**
 * The newest checkpoint that is whole; `warn` is told of each that is not. Undefined where there is
 * none yet; an error where there are some and none is whole.
 */
export function readNewestCheckpoint(
  directory: string,
  table: ParameterTable,
  warn: (line: string) => void,
): (Checkpoint & { readonly entry: CheckpointEntry }) | undefined {
  const entries = listCheckpoints(directory);
  for (const entry of entries.toReversed()) {
    try {
      const bytes = readFileSync(join(directory, entry.file));
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

function writeManifest(directory: string, checkpoints: readonly CheckpointEntry[]): void {
  const manifest = { schema: CHECKPOINT_SCHEMA, checkpoints };
  writeFileDurably(join(directory, MANIFEST), [`${JSON.stringify(manifest, null, 1)}\n`]);
}
