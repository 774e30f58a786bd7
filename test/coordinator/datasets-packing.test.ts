/** Packing: real image files of every awkward kind, the same shards for the same seed, resumed at once. */

import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DataError } from "@swarmvit/coordinator/datasets/data-error";
import { openDataset } from "@swarmvit/coordinator/datasets/open-dataset";
import { packShards } from "@swarmvit/coordinator/datasets/pack-shards";
import {
  describeSkipped,
  type PackedDataset,
  packDataset,
  readPackedDataset,
  readSampleNames,
} from "@swarmvit/coordinator/datasets/packed-dataset";
import { decodeShard, type ShardSample } from "@swarmvit/shared/shard";
import { decodeInNode } from "@swarmvit/worker/input/decode-node";
import sharp from "sharp";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

let root: string;
let data: string;
let out: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "swarmvit-pack-"));
  data = join(root, "data");
  out = join(root, "shards");
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function put(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(join(data, path)), { recursive: true });
  await writeFile(join(data, path), bytes);
}

/** A 6x4 image, each pixel of its own colour. */
function picture(channels: 3 | 4 = 3) {
  const raw = Buffer.from(Array.from({ length: 24 * channels }, (_, i) => (i * 37) % 256));
  return sharp(raw, { raw: { width: 6, height: 4, channels } });
}

/** `perClass` images each of classes a and b, all different, and two for validation. */
async function putClasses(perClass: number): Promise<void> {
  for (const [c, name] of ["a", "b"].entries()) {
    for (let i = 0; i < perClass; i++) {
      const background = { r: 10 * i, g: 100 * c, b: 50 };
      const image = sharp({ create: { width: 4, height: 4, channels: 3, background } });
      await put(`train/${name}/${i}.png`, await image.png().toBuffer());
    }
    await put(`val/${name}/0.png`, await picture().png().toBuffer());
  }
}

async function unpack(packed: PackedDataset, split: "train" | "validation" = "train") {
  const samples: ShardSample[] = [];
  for (const shard of packed[split].shards) {
    const bytes = await readFile(join(out, shard.sha256));
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(shard.sha256);
    expect(bytes.length).toBe(shard.bytes);
    const decoded = decodeShard(bytes, packed.classes.length);
    expect([shard.first, shard.count]).toEqual([samples.length, decoded.length]);
    samples.push(...decoded);
  }
  expect(samples).toHaveLength(packed[split].samples);
  return samples;
}

const pack = async (options: { seed?: number; shardSamples?: number; maxSide?: number } = {}) =>
  packDataset(await openDataset(data, { seed: 0 }), {
    directory: out,
    seed: 1,
    shardSamples: 100,
    ...options,
  });

describe("packing", () => {
  it("makes balanced shards of shuffled samples, the same for the same seed", async () => {
    await putClasses(9);
    const packed = await pack({ shardSamples: 5 });
    expect(packed.train.shards.map(({ count }) => count).sort()).toEqual([4, 4, 5, 5]);
    expect(packed.train.perClass).toEqual([9, 9]);
    const samples = await unpack(packed);
    const names = await readSampleNames(out, "train");
    expect([...names].sort()).not.toEqual(names);
    expect(new Set(names).size).toBe(18);
    for (const [id, name] of names.entries()) {
      expect(samples[id].label).toBe(name.startsWith("train/a/") ? 0 : 1);
      expect(Buffer.compare(samples[id].bytes, await readFile(join(data, name)))).toBe(0);
    }
    const hashes = (of: PackedDataset) => of.train.shards.map(({ sha256 }) => sha256);
    await rm(out, { recursive: true });
    expect(hashes(await pack({ shardSamples: 5 }))).toEqual(hashes(packed));
    expect(hashes(await pack({ shardSamples: 5, seed: 2 }))).not.toEqual(hashes(packed));
  });

  it("reuses what is packed, and packs again when data, seed or a shard file changed", async () => {
    await putClasses(3);
    const packed = await pack();
    const { reused, ...index } = packed;
    expect(reused).toBe(false);
    expect(await pack()).toEqual({ ...index, reused: true });
    expect(await readPackedDataset(out)).toEqual(index);
    const [shard] = packed.train.shards;
    await truncate(join(out, shard.sha256), shard.bytes - 1);
    expect(await readPackedDataset(out)).toBeUndefined();
    expect(await pack()).toEqual({ ...index, reused: false });
    expect((await pack({ seed: 9 })).reused).toBe(false);
    await put("train/a/new.png", await picture().png().toBuffer());
    const changed = await pack({ seed: 9 });
    expect([changed.reused, changed.train.samples]).toEqual([false, 7]);
    await writeFile(join(out, "index.json"), "{");
    expect((await pack({ seed: 9 })).reused).toBe(false);
    // Nothing of the earlier packings is left.
    const kept = [...changed.train.shards, ...changed.validation.shards].map((s) => s.sha256);
    expect((await readdir(out)).sort()).toEqual(
      [...new Set(kept), "index.json", "train-names.jsonl", "validation-names.jsonl"].sort(),
    );
  });

  it("counts, names and skips images that cannot be decoded", async () => {
    await putClasses(3);
    const jpeg = await sharp({
      create: { width: 64, height: 64, channels: 3, background: "red" },
    })
      .jpeg()
      .toBuffer();
    await put("train/a/bad1.jpg", jpeg.subarray(0, jpeg.length >> 1));
    await put("train/a/bad2.png", Buffer.from("not an image"));
    await put("train/b/bad3.gif", new Uint8Array());
    const flipped = await sharp(jpeg).png().toBuffer();
    flipped[flipped.length - 20] ^= 0xff;
    await put("train/b/bad4.png", flipped);
    const packed = await pack();
    expect(packed.train.perClass).toEqual([3, 3]);
    expect(packed.train.samples).toBe(6);
    expect(await unpack(packed)).toHaveLength(6);
    const { count, first } = packed.train.skipped;
    expect(count).toBe(4);
    expect(first.map(({ name }) => name)).toEqual([
      "train/a/bad1.jpg",
      "train/a/bad2.png",
      "train/b/bad3.gif",
    ]);
    expect(first.every(({ reason }) => reason.length > 5)).toBe(true);
    expect(describeSkipped(packed)).toEqual([
      expect.stringMatching(/^train: skipped 4 unreadable images: train\/a\/bad1\.jpg \(.+; …$/),
    ]);
  });

  it("says which class is left without a readable image", async () => {
    await putClasses(1);
    await put("train/b/0.png", Buffer.from("rubbish"));
    const packed = await pack();
    expect(packed.train.perClass).toEqual([1, 0]);
    expect(describeSkipped(packed)[1]).toBe("train: no readable image of b");
  });

  it("is a data error where no image can be decoded", async () => {
    await putClasses(1);
    for (const c of ["a", "b"]) await put(`train/${c}/0.png`, Buffer.from("rubbish"));
    const error: unknown = await pack().catch((thrown) => thrown);
    expect(error).toBeInstanceOf(DataError);
    expect(String(error)).toMatch(/none of 2 images can be decoded/);
    expect(await readdir(out)).toEqual([]);
  });

  it("keeps files that browsers decode alike and turns the others into opaque upright PNGs", async () => {
    await putClasses(1);
    const kept = {
      "jpeg.jpg": await picture().jpeg().toBuffer(),
      "grey.jpg": await picture().greyscale().jpeg().toBuffer(),
      "rgb.png": await picture().png().toBuffer(),
      "grey.png": await picture().toColourspace("b-w").png().toBuffer(),
      "palette.png": await picture().png({ palette: true }).toBuffer(),
      "still.webp": await picture().webp().toBuffer(),
      "upright.jpg": await picture().withMetadata({ orientation: 1 }).jpeg().toBuffer(),
    };
    const recoded = {
      "alpha.png": await picture(4).png().toBuffer(),
      "turned.jpg": await picture().withMetadata({ orientation: 6 }).jpeg().toBuffer(),
      "cmyk.jpg": await picture().toColourspace("cmyk").jpeg().toBuffer(),
      "deep.png": await picture().toColourspace("rgb16").png().toBuffer(),
      "deepgrey.png": await picture().toColourspace("grey16").png().toBuffer(),
      "moving.gif": await picture().gif().toBuffer(),
      "scan.tiff": await picture().tiff().toBuffer(),
    };
    for (const [name, bytes] of Object.entries({ ...kept, ...recoded })) {
      await put(`train/a/${name}`, bytes);
    }
    const packed = await pack();
    expect(describeSkipped(packed)).toEqual([]);
    const samples = await unpack(packed);
    const names = await readSampleNames(out, "train");
    const packedBytes = (name: string) => samples[names.indexOf(`train/a/${name}`)].bytes;
    for (const [name, bytes] of Object.entries(kept)) {
      expect(Buffer.compare(packedBytes(name), bytes), name).toBe(0);
    }
    for (const [name, original] of Object.entries(recoded)) {
      const meta = await sharp(packedBytes(name)).metadata();
      expect(meta, name).toMatchObject({ format: "png", depth: "uchar", hasAlpha: false });
      const size = name === "turned.jpg" ? [4, 6] : [6, 4];
      expect([meta.width, meta.height], name).toEqual(size);
      if (name === "cmyk.jpg") continue;
      const pixels = await decodeInNode(packedBytes(name));
      expect([...pixels.rgb], name).toEqual([...(await decodeInNode(original)).rgb]);
    }
  });

  it("scales images down to maxSide, keeping their ratio", async () => {
    await putClasses(1);
    const wide = sharp({ create: { width: 80, height: 20, channels: 3, background: "navy" } });
    await put("train/a/wide.jpg", await wide.jpeg().toBuffer());
    const samples = await unpack(await pack({ maxSide: 40 }));
    const sizes = await Promise.all(samples.map(async ({ bytes }) => sharp(bytes).metadata()));
    expect(sizes.map(({ width, height }) => `${width}x${height}`).sort()).toEqual([
      "40x10",
      "4x4",
      "4x4",
    ]);
  });

  it("reports progress over both splits and stops when aborted", async () => {
    await putClasses(4);
    const dataset = await openDataset(data, { seed: 0 });
    const seen: number[] = [];
    const options = { directory: out, seed: 0, shardSamples: 4 };
    await packDataset(dataset, { ...options, onProgress: (done) => seen.push(done) });
    expect(seen).toEqual(Array.from({ length: 10 }, (_, i) => i + 1));
    const abort = new AbortController();
    const aborted = packDataset(dataset, {
      ...options,
      seed: 1,
      signal: abort.signal,
      onProgress: () => abort.abort(),
    });
    await expect(aborted).rejects.toThrow(/abort/i);
    // The earlier packing still stands.
    expect((await packDataset(dataset, options)).reused).toBe(true);
  });

  it("packs Fashion-MNIST as PNGs of exactly its pixels", async () => {
    const dataset = await openDataset("fashion-mnist", { seed: 0 });
    const source = { ...dataset.validation, count: 50 };
    const split = await packShards(source, { directory: out, seed: 3, shardSamples: 50 }, "names");
    const samples = decodeShard(await readFile(join(out, split.shards[0].sha256)));
    const names = (await readFile(join(out, "names"), "utf8")).trim().split("\n");
    for (const [id, { bytes, label }] of samples.entries()) {
      const at = Number(JSON.parse(names[id]).split("#")[1]);
      expect(label).toBe(dataset.validation.label(at));
      const grey = (await dataset.validation.read(at)).grey?.pixels ?? new Uint8Array();
      const { rgb } = await decodeInNode(bytes);
      expect([...rgb]).toEqual([...grey].flatMap((value) => [value, value, value]));
    }
  });
});
