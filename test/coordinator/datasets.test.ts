/** Opening data: which layouts are understood, how they are split, and what is said when they are not. */

import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { DataError } from "@swarmvit/coordinator/datasets/data-error";
import { countPerClass, type SampleSource } from "@swarmvit/coordinator/datasets/dataset";
import { openDataset } from "@swarmvit/coordinator/datasets/open-dataset";
import { decodePng } from "@swarmvit/coordinator/datasets/png";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "swarmvit-data-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** Files with some bytes: opening lists them, packing reads them. */
async function files(...paths: string[]): Promise<void> {
  for (const path of paths) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), path);
  }
}

function idx(magic: number, dimensions: number[], data: Uint8Array): Buffer {
  const header = Buffer.alloc(4 + 4 * dimensions.length);
  header.writeUInt32BE(magic, 0);
  for (const [d, size] of dimensions.entries()) header.writeUInt32BE(size, 4 + 4 * d);
  return Buffer.concat([header, data]);
}

const names = (source: SampleSource) =>
  Array.from({ length: source.count }, (_, i) => source.name(i));

async function failure(spec: string): Promise<string> {
  const error: unknown = await openDataset(spec, { seed: 0 }).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(DataError);
  expect((error as DataError).path).toContain(root);
  return (error as DataError).message;
}

describe("fashion-mnist", () => {
  it("holds 10,000 and 2,000 images in ten balanced, named classes", async () => {
    const data = await openDataset("fashion-mnist", { seed: 0 });
    expect([data.train.count, data.validation.count]).toEqual([10_000, 2_000]);
    expect(data.classes[0]).toBe("T-shirt/top");
    expect(data.classes[9]).toBe("Ankle boot");
    for (const count of countPerClass(data.train, 10)) {
      expect(count).toBeGreaterThan(900);
      expect(count).toBeLessThan(1_100);
    }
    expect(data.describe()).toContain("10,000 training and 2,000 validation images");
    const { bytes, grey } = await data.train.read(0);
    expect(data.train.label(0)).toBe(9);
    expect(decodePng(bytes)).toMatchObject({ width: 28, height: 28, channels: 1 });
    expect(Buffer.compare(decodePng(bytes).pixels, grey?.pixels ?? Buffer.alloc(0))).toBe(0);
  });
});

describe("IDX files", () => {
  const pixels = Uint8Array.from({ length: 12 * 6 }, (_, i) => i * 3);
  const labels = Uint8Array.from({ length: 12 }, (_, i) => i % 3);

  async function write(prefix: string, images: Buffer, labelFile: Buffer): Promise<void> {
    await writeFile(join(root, `${prefix}-images-idx3-ubyte`), images);
    await writeFile(join(root, `${prefix}-labels-idx1-ubyte.gz`), gzipSync(labelFile));
  }
  const imageFile = idx(0x803, [12, 2, 3], pixels);
  const labelFile = idx(0x801, [12], labels);

  it("opens a directory of two pairs, gzipped or not", async () => {
    await write("train", imageFile, labelFile);
    await write(
      "t10k",
      idx(0x803, [1, 2, 3], pixels.subarray(0, 6)),
      idx(0x801, [1], labels.subarray(2, 3)),
    );
    const data = await openDataset(root, { seed: 0 });
    expect(data.classes).toEqual(["0", "1", "2"]);
    expect([data.train.count, data.validation.count]).toEqual([12, 1]);
    expect(data.validation.label(0)).toBe(2);
    const { bytes } = await data.train.read(3);
    expect([...decodePng(bytes).pixels]).toEqual([...pixels.subarray(18, 24)]);
  });

  it("splits a lone pair, by directory or by file, and takes names from classes.txt", async () => {
    await write("train", imageFile, labelFile);
    await writeFile(join(root, "classes.txt"), "ant\nbee\ncat\n");
    for (const spec of [root, join(root, "train-images-idx3-ubyte")]) {
      const data = await openDataset(spec, { seed: 4, validationFraction: 0.25 });
      expect(data.classes).toEqual(["ant", "bee", "cat"]);
      expect(countPerClass(data.train, 3)).toEqual([3, 3, 3]);
      expect(countPerClass(data.validation, 3)).toEqual([1, 1, 1]);
    }
  });

  it("refuses truncated files, other formats, missing and strange labels", async () => {
    await write("train", imageFile.subarray(0, 40), labelFile);
    expect(await failure(root)).toMatch(/expected 88 bytes for 12 images 2x3, got 40/);
    await write("train", idx(0x801, [12], labels), labelFile);
    expect(await failure(root)).toMatch(/0x00000803.*got 0x00000801/s);
    await write("train", gzipSync(imageFile).subarray(0, 30), labelFile);
    expect(await failure(root)).toMatch(/gzip data cannot be read/);
    await write("train", imageFile, idx(0x801, [11], labels.subarray(1)));
    expect(await failure(root)).toMatch(/got 12 and 11/);
    await write("train", imageFile, labelFile);
    await write(
      "t10k",
      imageFile,
      idx(
        0x801,
        [12],
        labels.map((label) => label + 5),
      ),
    );
    expect(await failure(root)).toMatch(/training data lacks: 5, 6, 7/);
    await rm(join(root, "train-labels-idx1-ubyte.gz"));
    expect(await failure(root)).toMatch(/expected its labels beside it/);
  });
});

describe("image folders", () => {
  it("reads train and val, classes sorted by name, folders below a class included", async () => {
    await files("train/b/2.jpg", "train/b/1.png", "train/a/deep/x.JPEG", "val/b/v.webp");
    await symlink(join(root, "train/a"), join(root, "train/c"));
    const data = await openDataset(root, { seed: 0 });
    expect(data.classes).toEqual(["a", "b", "c"]);
    expect(names(data.train).slice(0, 3)).toEqual([
      "train/a/deep/x.JPEG",
      "train/b/1.png",
      "train/b/2.jpg",
    ]);
    expect([data.train.label(2), data.validation.label(0)]).toEqual([1, 1]);
    expect(Buffer.from((await data.validation.read(0)).bytes).toString()).toBe("val/b/v.webp");
  });

  it.each(["validation", "test"])("takes %s/ as validation data", async (name) => {
    await files("train/a/1.jpg", "train/b/1.jpg", `${name}/a/1.jpg`);
    const data = await openDataset(root, { seed: 0 });
    expect(names(data.validation)).toEqual([`${name}/a/1.jpg`]);
  });

  it("splits one folder by seed: a fifth of each class, nothing lost or doubled", async () => {
    const all = ["a", "b"].flatMap((c) => Array.from({ length: 10 }, (_, i) => `${c}/${i}.jpg`));
    await files(...all);
    const first = await openDataset(root, { seed: 1 });
    expect(countPerClass(first.validation, 2)).toEqual([2, 2]);
    expect([...names(first.train), ...names(first.validation)].sort()).toEqual(all);
    const again = await openDataset(root, { seed: 1 });
    expect(names(again.validation)).toEqual(names(first.validation));
    expect(again.fingerprint).toBe(first.fingerprint);
    const others = await Promise.all([2, 3, 4].map((seed) => openDataset(root, { seed })));
    expect(new Set(others.map((data) => names(data.validation).join())).size).toBeGreaterThan(1);
    expect(new Set(others.map((data) => data.fingerprint)).size).toBe(3);
  });

  it("changes its fingerprint when a file is added or changes size", async () => {
    await files("train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg");
    const prints = [(await openDataset(root, { seed: 0 })).fingerprint];
    await writeFile(join(root, "val/a/1.jpg"), "longer than before");
    prints.push((await openDataset(root, { seed: 0 })).fingerprint);
    await files("train/b/2.jpg");
    prints.push((await openDataset(root, { seed: 0 })).fingerprint);
    expect(new Set(prints).size).toBe(3);
  });

  it("leaves out and names images without a class and files that are no images", async () => {
    await files(
      "train/a/1.jpg",
      "train/b/1.jpg",
      "train/loose.jpg",
      "train/a/notes.txt",
      "val/a/1.jpg",
    );
    const data = await openDataset(root, { seed: 0 });
    expect(data.train.count).toBe(2);
    expect(data.describe()).toMatch(/1 images in train outside class folders \(loose\.jpg\)/);
    expect(data.describe()).toMatch(/1 files in train that are no images \(a\/notes\.txt\)/);
  });
});

describe("data that cannot be used", () => {
  it("is named, with what was expected and the layouts that work", async () => {
    const missing = await failure(join(root, "nowhere"));
    expect(missing).toContain(join(root, "nowhere"));
    expect(missing).toMatch(/no such file or directory/);
    expect(missing).toMatch(/Accepted data:.*DIR\/train\/CLASS/s);
    expect(await failure(root)).toMatch(/found an empty directory/);
    await files("photos.zip");
    expect(await failure(join(root, "photos.zip"))).toMatch(/Unpack archives first/);
    expect(await failure(root)).toMatch(/expected class folders with images/);
    await files("1.jpg", "2.jpg");
    expect(await failure(root)).toMatch(/2 images without a class folder \(1\.jpg, 2\.jpg\)/);
  });

  it("includes empty class folders, a single class, and val without train", async () => {
    await files("a/1.jpg");
    expect(await failure(root)).toMatch(/at least two class folders, found only a/);
    await files("b/readme.txt");
    expect(await failure(root)).toMatch(/found none in b/);
    await files("val/a/1.jpg");
    expect(await failure(root)).toMatch(/expected train\/ beside val\//);
  });

  it("includes validation classes that training lacks", async () => {
    await files("train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg", "val/wolf/1.jpg", "val/yak/1.jpg");
    expect(await failure(root)).toMatch(/found others: wolf, yak/);
    await rm(join(root, "val"), { recursive: true });
    await mkdir(join(root, "val/a"), { recursive: true });
    expect(await failure(root)).toMatch(/found none/);
  });

  it("refuses a validation fraction outside (0, 1)", async () => {
    await expect(openDataset("fashion-mnist", { seed: 0, validationFraction: 1 })).rejects.toThrow(
      RangeError,
    );
  });
});
