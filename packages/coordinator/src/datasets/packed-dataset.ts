/**
 * A dataset packed into a directory: the shard files and `index.json`, written last. Packing again
 * what has not changed finds the index and reads no image.
 */

import { createHash } from "node:crypto";
import { open, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Dataset } from "./dataset.ts";
import {
  type PackedSplit,
  packShards,
  type ShardEntry,
  writeFileAtomically,
} from "./pack-shards.ts";

export type SplitName = "train" | "validation";

/** The content of `index.json`. */
export interface PackedDataset {
  readonly version: 1;
  readonly name: string;
  /** Of the dataset and of everything that packing depends on. */
  readonly fingerprint: string;
  readonly classes: readonly string[];
  readonly train: PackedSplit;
  readonly validation: PackedSplit;
}

export interface PackDatasetOptions {
  /** The run's own directory of shards: other shards in it are deleted. */
  readonly directory: string;
  readonly seed: number;
  readonly shardSamples: number;
  readonly maxSide?: number;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

const INDEX = "index.json";
const SHARD_NAME = /^[0-9a-f]{64}$/;
const TEMPORARY_NAME = /\.tmp$/;

/**
 * Packs both splits, or returns what is packed there already from the same files with the same
 * options (`reused`); shard files are then checked by size only, as their readers check the hash.
 * Throws a `DataError` where a split has no image that can be decoded.
 */
export async function packDataset(
  dataset: Dataset,
  options: PackDatasetOptions,
): Promise<PackedDataset & { readonly reused: boolean }> {
  const { directory, seed, shardSamples, maxSide, onProgress, signal } = options;
  const fingerprint = createHash("sha256")
    .update(JSON.stringify([dataset.fingerprint, seed, shardSamples, maxSide ?? null]))
    .digest("hex");
  const existing = await readPackedDataset(directory);
  if (existing?.fingerprint === fingerprint) return { ...existing, reused: true };

  const total = dataset.train.count + dataset.validation.count;
  const packSplit = async (split: SplitName, before: number): Promise<PackedSplit> => {
    const packed = await packShards(
      dataset[split],
      {
        directory,
        seed,
        shardSamples,
        maxSide,
        signal,
        onProgress: onProgress && ((done) => onProgress(before + done, total)),
      },
      namesFile(split),
    );
    return { ...packed, perClass: dataset.classes.map((_, c) => packed.perClass[c] ?? 0) };
  };
  const train = await packSplit("train", 0);
  const validation = await packSplit("validation", dataset.train.count);
  const { name, classes } = dataset;
  const packed: PackedDataset = { version: 1, name, fingerprint, classes, train, validation };
  await writeFileAtomically(join(directory, INDEX), `${JSON.stringify(packed, null, 1)}\n`);
  await syncDirectory(directory);
  await removeStrangers(directory, [...train.shards, ...validation.shards]);
  return { ...packed, reused: false };
}

/** The index of a directory of shards, or undefined where there is none or a shard file is missing. */
export async function readPackedDataset(directory: string): Promise<PackedDataset | undefined> {
  try {
    const index: PackedDataset = JSON.parse(await readFile(join(directory, INDEX), "utf8"));
    if (index.version !== 1) return undefined;
    for (const { sha256, bytes } of [...index.train.shards, ...index.validation.shards]) {
      if (!SHARD_NAME.test(sha256)) return undefined;
      if ((await stat(join(directory, sha256))).size !== bytes) return undefined;
    }
    return index;
  } catch {
    // Missing, cut off or of another shape: all the same to the caller, who packs again.
    return undefined;
  }
}

/** Names of a split's samples in the order of their ids, for messages. */
export async function readSampleNames(directory: string, split: SplitName): Promise<string[]> {
  const text = await readFile(join(directory, namesFile(split)), "utf8");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => String(JSON.parse(line)));
}

/** A line for each split with images left out, naming the first, and for training classes left empty. */
export function describeSkipped(packed: PackedDataset): string[] {
  const lines: string[] = [];
  for (const split of ["train", "validation"] as const) {
    const { count, first } = packed[split].skipped;
    if (count === 0) continue;
    const named = first.map(({ name, reason }) => `${name} (${reason})`).join("; ");
    lines.push(
      `${split}: skipped ${count} unreadable image${count === 1 ? "" : "s"}: ${named}${count > first.length ? "; …" : ""}`,
    );
  }
  const empty = packed.classes.filter((_, c) => packed.train.perClass[c] === 0);
  if (empty.length > 0) lines.push(`train: no readable image of ${empty.join(", ")}`);
  return lines;
}

function namesFile(split: SplitName): string {
  return `${split}-names.jsonl`;
}

/** Makes the renames of this directory last through a power cut. */
async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === "win32") return; // Windows cannot open a directory to sync it.
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Deletes shards of an earlier packing and what a killed one left. */
async function removeStrangers(directory: string, kept: readonly ShardEntry[]): Promise<void> {
  const names = new Set(kept.map(({ sha256 }) => sha256));
  for (const name of await readdir(directory)) {
    if (TEMPORARY_NAME.test(name) || (SHARD_NAME.test(name) && !names.has(name))) {
      await rm(join(directory, name), { force: true });
    }
  }
}
