/**
 * Packs the samples of one split into shards: one seeded global shuffle, every image decoded once,
 * unreadable ones left out. The same samples, seed and options give the same files.
 */

import { createHash } from "node:crypto";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { permutation, siteSeed } from "@swarmvit/shared/random";
import { encodeShardHeader } from "@swarmvit/shared/shard";
import { DataError } from "./data-error.ts";
import type { SampleSource } from "./dataset.ts";
import { normaliseImage } from "./normalise-image.ts";

/** One shard file: samples `first` … `first + count - 1` of its split. */
export interface ShardEntry {
  /** Of the file's bytes, in lower-case hex; also the file's name. */
  readonly sha256: string;
  readonly bytes: number;
  readonly first: number;
  readonly count: number;
}

/** Images that could not be decoded. */
export interface SkippedSamples {
  readonly count: number;
  /** The first few in the source's order. */
  readonly first: readonly { readonly name: string; readonly reason: string }[];
}

/** One split as shards. A sample's id is its position in them. */
export interface PackedSplit {
  readonly samples: number;
  /** Packed samples of each class, by class id. */
  readonly perClass: readonly number[];
  readonly shards: readonly ShardEntry[];
  readonly skipped: SkippedSamples;
}

export interface PackOptions {
  /** Where the shard files go; created if missing. */
  readonly directory: string;
  readonly seed: number;
  /** Most samples of a shard; shards differ by one sample at most. */
  readonly shardSamples: number;
  /** Images with a longer side are scaled down to it. */
  readonly maxSide?: number;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

const NAMED_SKIPPED = 3;
/** Packed bytes gathered in memory before they are written. */
const WRITE_BYTES = 1 << 20;
/** Random numbers have 24 bits: a larger split could not be shuffled evenly. */
const MAX_SAMPLES = 2 ** 24;

interface Packed {
  readonly length: number;
  readonly label: number;
}

/**
 * Packs `source` into `options.directory` and writes the samples' names, one JSON string a line in
 * the order of ids, to `namesFile` there. Throws a `DataError` where no image can be decoded.
 */
export async function packShards(
  source: SampleSource,
  options: PackOptions,
  namesFile?: string,
): Promise<PackedSplit> {
  const { directory, shardSamples } = options;
  if (!(Number.isInteger(shardSamples) && shardSamples >= 1)) {
    throw new RangeError(`Expected at least one sample a shard, got ${shardSamples}.`);
  }
  if (source.count > MAX_SAMPLES) {
    throw new DataError(
      directory,
      `expected at most ${MAX_SAMPLES} samples, got ${source.count}`,
      "Train on a part of the data.",
    );
  }
  await mkdir(directory, { recursive: true });
  const spoolPath = join(directory, `spool-${process.pid}.tmp`);
  const spool = await open(spoolPath, "w+");
  try {
    const { samples, names, skipped } = await spoolSamples(source, spool, options);
    if (samples.length === 0) {
      const [first] = skipped.first;
      throw new DataError(
        first?.name ?? directory,
        `none of ${source.count} images can be decoded${first ? ` (${first.reason})` : ""}`,
        "Check that the files are images and not truncated.",
      );
    }
    const shards = await cutShards(samples, spool, directory, shardSamples);
    if (namesFile) {
      await writeFileAtomically(
        join(directory, namesFile),
        names.map((name) => `${JSON.stringify(name)}\n`).join(""),
      );
    }
    const perClass: number[] = [];
    for (const { label } of samples) {
      while (perClass.length <= label) perClass.push(0);
      perClass[label]++;
    }
    return { samples: samples.length, perClass, shards, skipped };
  } finally {
    await spool.close();
    await rm(spoolPath, { force: true });
  }
}

/** Writes a file so that after a crash there is the old one or the new one, never a part. */
export async function writeFileAtomically(
  path: string,
  content: string | Uint8Array | readonly Uint8Array[],
): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  const file = await open(temporary, "w");
  try {
    for (const part of Array.isArray(content) ? content : [content]) await file.writeFile(part);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

/** Appends every decodable image, in shuffled order, to one file: its size is known only then. */
async function spoolSamples(
  source: SampleSource,
  spool: FileHandle,
  { seed, maxSide, onProgress, signal }: PackOptions,
): Promise<{ samples: Packed[]; names: string[]; skipped: SkippedSamples }> {
  const order = permutation(source.count, siteSeed(seed, "shards"));
  const samples: Packed[] = [];
  const names: string[] = [];
  const failures: { at: number; name: string; reason: string }[] = [];
  const prepare = async (at: number): Promise<Uint8Array | { reason: string }> => {
    try {
      return (await normaliseImage(await source.read(at), maxSide)).bytes;
    } catch (error) {
      return { reason: reasonOf(error) };
    }
  };

  // A window of images in flight keeps the decoder's threads busy; results are taken in order.
  const window: Promise<Uint8Array | { reason: string }>[] = [];
  const width = 8 * availableParallelism();
  let started = 0;
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  const flush = async (): Promise<void> => {
    await spool.appendFile(Buffer.concat(pending));
    pending = [];
    pendingBytes = 0;
  };
  for (let done = 0; done < order.length; done++) {
    signal?.throwIfAborted();
    while (started < order.length && window.length < width) window.push(prepare(order[started++]));
    const result = await window.shift();
    const at = order[done];
    const name = source.name(at);
    if (result instanceof Uint8Array) {
      pending.push(result);
      pendingBytes += result.length;
      if (pendingBytes >= WRITE_BYTES) await flush();
      samples.push({ length: result.length, label: source.label(at) });
      names.push(name);
    } else {
      failures.push({ at, name, reason: result?.reason ?? "" });
    }
    onProgress?.(done + 1, order.length);
  }
  await flush();
  const first = failures
    .sort((a, b) => a.at - b.at)
    .slice(0, NAMED_SKIPPED)
    .map(({ name, reason }) => ({ name, reason }));
  return { samples, names, skipped: { count: failures.length, first } };
}

/** Cuts the spooled samples into shards of n or n + 1 samples, each named by its hash. */
async function cutShards(
  samples: readonly Packed[],
  spool: FileHandle,
  directory: string,
  shardSamples: number,
): Promise<ShardEntry[]> {
  const shardCount = Math.ceil(samples.length / shardSamples);
  const shards: ShardEntry[] = [];
  let position = 0;
  for (let s = 0; s < shardCount; s++) {
    const first = Math.floor((s * samples.length) / shardCount);
    const end = Math.floor(((s + 1) * samples.length) / shardCount);
    const part = samples.slice(first, end);
    const header = encodeShardHeader(part);
    const body = Buffer.alloc(part.reduce((sum, { length }) => sum + length, 0));
    const { bytesRead } = await spool.read(body, 0, body.length, position);
    if (bytesRead !== body.length) {
      throw new Error(`Expected ${body.length} bytes of packed samples, read ${bytesRead}.`);
    }
    position += body.length;
    const sha256 = createHash("sha256").update(header).update(body).digest("hex");
    await writeFileAtomically(join(directory, sha256), [header, body]);
    shards.push({ sha256, bytes: header.length + body.length, first, count: end - first });
  }
  return shards;
}

/** Sharp's messages have several lines and a terminal's worth of detail: the first line names it. */
function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n")[0].trim();
}
