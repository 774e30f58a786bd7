/** Augmentation and batches: the same bits everywhere, inside the image, from committed vectors. */

import { createHash } from "node:crypto";
import { bytesOf } from "@swarmvit/shared/bytes";
import type { AugmentConfig } from "@swarmvit/shared/protocol";
import { fnv1a32, hash32 } from "@swarmvit/shared/random";
import {
  cropBox,
  evaluationRegion,
  isFlipped,
  sampleRegion,
  trainingRegion,
} from "@swarmvit/worker/input/augment";
import { type BatchSource, buildBatch } from "@swarmvit/worker/input/batch";
import { type Pixels, UndecodableSample } from "@swarmvit/worker/input/decode";
import { createPixelCache } from "@swarmvit/worker/input/pixel-cache";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const PAPER: AugmentConfig = {
  cropScale: [0.08, 1],
  cropRatio: [3 / 4, 4 / 3],
  flip: true,
  evalResize: 288 / 256,
};

/** 23 rows of 31 pixels, from the integer hash. */
function noiseImage(height = 23, width = 31): Pixels {
  const seed = fnv1a32("image");
  const rgb = Uint8Array.from({ length: height * width * 3 }, (_, i) => hash32(seed, i) >>> 24);
  return { height, width, rgb };
}

const sha256 = (values: Float32Array) => createHash("sha256").update(bytesOf(values)).digest("hex");

describe("crop boxes", () => {
  // Computed by an independent implementation in Python.
  it.each([
    [28, 28, 1, 0, 0.08, [1, 6, 18, 21], true],
    [28, 28, 1, 1, 0.08, [7, 7, 16, 15], false],
    [32, 32, 0xdeadbeef, 7, 0.08, [1, 14, 20, 16], true],
    [375, 500, 12345, 31, 0.08, [13, 101, 251, 324], false],
    [375, 500, 12345, 31, 0.5, [6, 52, 317, 410], false],
    [500, 375, 0xffffffff, 255, 0.5, [55, 10, 437, 363], false],
    [20, 200, 5, 0, 0.9, [0, 86, 20, 27], true], // falls back to the centre
    [200, 20, 5, 0, 0.9, [86, 0, 27, 20], true],
  ] as const)("%ix%i, seed %i, position %i, scale from %d", (h, w, seed, at, from, box, flip) => {
    const got = cropBox(h, w, seed, at, { ...PAPER, cropScale: [from, 1] });
    expect([got.top, got.left, got.height, got.width]).toEqual(box);
    expect(isFlipped(seed, at)).toBe(flip);
  });

  const share = fc.double({ min: 0.001, max: 1, noNaN: true });
  const ratio = fc.double({ min: 0.1, max: 10, noNaN: true });
  it("lie inside the image, whatever the image and the ranges", () => {
    const side = fc.integer({ min: 1, max: 700 });
    fc.assert(
      fc.property(
        fc.tuple(side, side, fc.nat(0xffffffff), fc.nat(4096)),
        fc.tuple(share, share, ratio, ratio),
        ([height, width, seed, position], [s0, s1, r0, r1]) => {
          const box = cropBox(height, width, seed, position, {
            cropScale: [Math.min(s0, s1), Math.max(s0, s1)],
            cropRatio: [Math.min(r0, r1), Math.max(r0, r1)],
          });
          for (const value of Object.values(box)) expect(Number.isInteger(value)).toBe(true);
          expect(Math.min(box.height, box.width)).toBeGreaterThanOrEqual(1);
          expect(Math.min(box.top, box.left)).toBeGreaterThanOrEqual(0);
          expect(box.top + box.height).toBeLessThanOrEqual(height);
          expect(box.left + box.width).toBeLessThanOrEqual(width);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it("have a uniform area and a log-uniform ratio, and move over the whole image", () => {
    const boxes = Array.from({ length: 4_000 }, (_, p) =>
      cropBox(1_000, 1_000, 9, p, { ...PAPER, cropScale: [0.1, 0.3] }),
    );
    const quantile = (values: number[], q: number) =>
      values.sort((a, b) => a - b)[Math.floor(q * values.length)];
    const areas = boxes.map(({ height, width }) => (height * width) / 1e6);
    const logRatios = boxes.map(({ height, width }) => Math.log(width / height) / Math.log(4 / 3));
    const tops = boxes.map(({ top, height }) => top / (1_000 - height));
    for (const q of [0.1, 0.25, 0.5, 0.75, 0.9]) {
      expect(quantile(areas, q)).toBeCloseTo(0.1 + 0.2 * q, 1.7);
      expect(Math.abs(quantile(logRatios, q) - (2 * q - 1))).toBeLessThan(0.05);
      expect(Math.abs(quantile(tops, q) - q)).toBeLessThan(0.03);
    }
    const flips = boxes.filter((_, p) => isFlipped(9, p)).length;
    expect(Math.abs(flips / boxes.length - 0.5)).toBeLessThan(0.03);
  });
});

describe("sampling", () => {
  // Hashes of float32 values, computed by an independent implementation in Python.
  it.each([
    [
      0,
      { top: 1, left: 1, height: 18, width: 15, flip: true, edge: "region" },
      "1d3badedf9937cbacb1c1ab42c8f02be7b2741d23202ea6f6765c047267bfe5b",
    ],
    [
      1,
      { top: 1, left: 4, height: 14, width: 17, flip: false, edge: "region" },
      "6ce619aa39d0ea98513123784667fb7084084ad757b63791abd0ea4ef4ae8695",
    ],
  ])("gives the committed bits for position %i of unit seed 77", (position, region, hash) => {
    const image = noiseImage();
    expect(trainingRegion(image, 77, position, PAPER)).toEqual(region);
    const out = new Float32Array(12 * 20 * 3);
    sampleRegion(image, trainingRegion(image, 77, position, PAPER), 12, 20, out);
    expect(sha256(out)).toBe(hash);
  });

  it("gives the committed bits for the paper's evaluation at 16x16", () => {
    const image = noiseImage();
    const out = new Float32Array(16 * 16 * 3);
    sampleRegion(image, evaluationRegion(image, 16, 16, 288 / 256), 16, 16, out);
    expect(out[0]).toBe(0.43766340613365173);
    expect(sha256(out)).toBe("006ff528275e3268552f91187b55ba3066a1092bd23a29f8d820c453aca77f14");
  });

  it("copies pixels where nothing is resized, and mirrors them", () => {
    const image = noiseImage(5, 7);
    const whole = evaluationRegion(image, 5, 7, 1);
    const out = new Float32Array(5 * 7 * 3);
    sampleRegion(image, whole, 5, 7, out);
    expect([...out]).toEqual([...image.rgb].map((value) => Math.fround(value / 255)));
    const mirrored = new Float32Array(out.length);
    sampleRegion(image, { ...whole, flip: true }, 5, 7, mirrored);
    for (let x = 0; x < 7; x++) {
      expect(mirrored.slice(3 * x, 3 * x + 3)).toEqual(out.slice(3 * (6 - x), 3 * (6 - x) + 3));
    }
  });

  it("crops the centre as the paper does, and never beyond the image", () => {
    // Shorter side 400 → 288, so a centre crop of 256 shows 256/288 of it.
    const wide = evaluationRegion({ height: 400, width: 800 }, 256, 256, 288 / 256);
    expect(wide.height).toBeCloseTo((400 * 256) / 288, 9);
    expect([wide.top, wide.left]).toEqual([16 * (400 / 288), 160 * (800 / 576)]);
    const side = fc.integer({ min: 1, max: 900 });
    const output = fc.integer({ min: 16, max: 320 });
    const resize = fc.constantFrom(1, 8 / 7, 288 / 256, 1.5);
    fc.assert(
      fc.property(side, side, output, output, resize, (height, width, h, w, evalResize) => {
        const region = evaluationRegion({ height, width }, h, w, evalResize);
        expect(Math.min(region.top, region.left)).toBeGreaterThanOrEqual(0);
        expect(region.top + region.height).toBeLessThanOrEqual(height * (1 + 1e-12));
        expect(region.left + region.width).toBeLessThanOrEqual(width * (1 + 1e-12));
      }),
    );
  });

  it("stays between the image's darkest and brightest value", () => {
    const side = fc.integer({ min: 1, max: 24 });
    fc.assert(
      fc.property(side, side, side, side, fc.nat(), (height, width, h, w, seed) => {
        const image = noiseImage(height, width);
        const out = new Float32Array(h * w * 3).fill(Number.NaN);
        sampleRegion(image, trainingRegion(image, seed, 0, PAPER), h, w, out);
        const low = Math.min(...image.rgb) / 255;
        const high = Math.max(...image.rgb) / 255;
        expect(out.every((v) => v >= low - 1e-7 && v <= high + 1e-7)).toBe(true);
      }),
    );
  });
});

describe("batches", () => {
  const unit = { height: 6, width: 8, samples: [5, 2, 9], seed: 42 };

  /** Samples whose bytes are their pixels: 4x4, all of value id. */
  function source(overrides: Partial<BatchSource> = {}) {
    const fetched: number[] = [];
    const batchSource: BatchSource = {
      kind: "gradient",
      augment: PAPER,
      getSample: async (id) => {
        fetched.push(id);
        return { bytes: new Uint8Array(48).fill(id * 10), label: id + 100 };
      },
      decode: async (rgb) => ({ width: 4, height: 4, rgb }),
      ...overrides,
    };
    return { batchSource, fetched };
  }

  it("hold the unit's samples in its order, in any order of arrival", async () => {
    const { batchSource } = source();
    const batch = await buildBatch(unit, {
      ...batchSource,
      getSample: async (id) => {
        if (id === 5) for (let turn = 0; turn < 50; turn++) await Promise.resolve();
        return batchSource.getSample(id);
      },
    });
    expect(batch).toMatchObject({ height: 6, width: 8, seed: 42 });
    expect([...batch.labels]).toEqual([105, 102, 109]);
    const perSample = 6 * 8 * 3;
    expect(batch.pixels).toHaveLength(3 * perSample);
    for (const [p, id] of unit.samples.entries()) {
      const part = batch.pixels.subarray(p * perSample, (p + 1) * perSample);
      expect(new Set(part)).toEqual(new Set([Math.fround((id * 10) / 255)]));
    }
  });

  it("augment by position and seed for a gradient, and not at all for an evaluation", async () => {
    const { batchSource } = source({ decode: async () => noiseImage() });
    const samples = [1, 1];
    const build = (kind: BatchSource["kind"], seed: number) =>
      buildBatch({ ...unit, samples, seed }, { ...batchSource, kind });
    const gradient = await build("gradient", 1);
    expect(sha256((await build("gradient", 1)).pixels)).toBe(sha256(gradient.pixels));
    expect(sha256((await build("gradient", 2)).pixels)).not.toBe(sha256(gradient.pixels));
    const halves = (pixels: Float32Array) =>
      [0, 1].map((p) => sha256(pixels.slice(p * 144, p * 144 + 144)));
    const [first, second] = halves(gradient.pixels);
    expect(first).not.toBe(second);
    const evaluation = await build("evaluation", 1);
    expect(new Set(halves(evaluation.pixels)).size).toBe(1);
    expect(sha256((await build("evaluation", 2)).pixels)).toBe(sha256(evaluation.pixels));
  });

  it("name the sample that cannot be decoded, and pass on what fetching says", async () => {
    const { batchSource } = source({
      decode: async (bytes) => {
        if (bytes[0] === 20) throw new Error("bad bytes");
        return { width: 4, height: 4, rgb: bytes };
      },
    });
    const error: unknown = await buildBatch(unit, batchSource).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(UndecodableSample);
    expect(error).toMatchObject({ sample: 2, message: expect.stringContaining("bad bytes") });
    const offline = { ...batchSource, getSample: async () => Promise.reject(new TypeError("net")) };
    await expect(buildBatch(unit, offline)).rejects.toThrow(TypeError);
  });

  it("stop when aborted", async () => {
    const abort = new AbortController();
    const { batchSource } = source({
      decode: async (rgb) => {
        abort.abort(new Error("left"));
        return { width: 4, height: 4, rgb };
      },
    });
    await expect(buildBatch(unit, batchSource, abort.signal)).rejects.toThrow("left");
  });

  it("decode a cached image once, and give way to the bound, oldest first", async () => {
    const cache = createPixelCache(2 * 48);
    const { batchSource, fetched } = source({ cache });
    await buildBatch({ ...unit, samples: [1, 2] }, batchSource);
    await buildBatch({ ...unit, samples: [1] }, batchSource);
    expect(fetched).toEqual([1, 2]);
    await buildBatch({ ...unit, samples: [3] }, batchSource); // drops 2: 1 was used later
    expect(cache.bytes()).toBe(96);
    const batch = await buildBatch({ ...unit, samples: [1, 3] }, batchSource);
    expect(fetched).toEqual([1, 2, 3]);
    expect([...batch.labels]).toEqual([101, 103]);
    await buildBatch({ ...unit, samples: [2] }, batchSource);
    expect(fetched).toEqual([1, 2, 3, 2]);
    cache.clear();
    expect(cache.bytes()).toBe(0);
    const small = createPixelCache(47);
    await buildBatch(unit, { ...batchSource, cache: small });
    expect(small.bytes()).toBe(0);
  });
});
