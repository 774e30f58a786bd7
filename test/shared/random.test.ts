import { readFileSync } from "node:fs";
import {
  below,
  dropoutThreshold,
  fill,
  fnv1a32,
  hash32,
  permutation,
  siteSeed,
  u24,
  uniform,
} from "@swarmvit/shared/random";
import { describe, expect, test } from "vitest";

const golden = JSON.parse(
  readFileSync(new URL("../golden/misc.json", import.meta.url), "utf8"),
).formula_vectors;

describe("the integer hash agrees with the oracle", () => {
  test.each(Object.entries(golden.fnv1a32 as Record<string, number>))(
    "fnv1a32(%j)",
    (name, hash) => {
      expect(fnv1a32(name)).toBe(hash);
    },
  );

  test.each(Object.entries(golden.hash_u01 as Record<string, number[]>))(
    "uniform at %j",
    (name, values) => {
      expect(values.map((_, i) => uniform(fnv1a32(name), i))).toEqual(values);
    },
  );

  test("the fill of a weight", () => {
    const first = golden.stem_conv_weight_first6 as number[];
    expect([...fill("stem.conv.weight", 6, 0, golden.scale_stem)]).toEqual(first);
  });
});

describe("streams that volunteers must share", () => {
  // Committed so that a WGSL, AssemblyScript or other implementation can be checked against them.
  test("siteSeed and u24 at fixed seeds", () => {
    expect(siteSeed(42, "unit")).toBe(GOLDEN_STREAMS.unit);
    expect(siteSeed(42, "dropout/stages.2.1.transformer.0.attn.proj")).toBe(GOLDEN_STREAMS.dropout);
    expect([0, 1, 2, 3, 4294967295].map((i) => u24(GOLDEN_STREAMS.dropout, i))).toEqual(
      GOLDEN_STREAMS.values,
    );
  });

  test("a dropout mask keeps about 1 - p, decided in whole numbers", () => {
    const threshold = dropoutThreshold(0.1);
    expect(threshold).toBe(1677722);
    let kept = 0;
    for (let i = 0; i < 100_000; i++) if (u24(7, i) >= threshold) kept++;
    expect(kept / 100_000).toBeCloseTo(0.9, 2);
  });

  test("permutation is a permutation, and another seed gives another one", () => {
    const order = permutation(1000, 5);
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(permutation(1000, 5)).toEqual(order);
    expect(permutation(1000, 6)).not.toEqual(order);
    expect([...permutation(0, 1)]).toEqual([]);
  });

  test("below covers its range evenly", () => {
    const counts = new Array(7).fill(0);
    for (let i = 0; i < 70_000; i++) counts[below(7, 3, i)]++;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  });

  test("hash32 is defined for every 32-bit index", () => {
    expect(hash32(0, 0)).toBe(0);
    expect(hash32(1, 0xffffffff)).toBeGreaterThanOrEqual(0);
  });
});

const GOLDEN_STREAMS = {
  unit: 3151944867,
  dropout: 794399104,
  values: [5322947, 721854, 3125979, 10879015, 6487721],
};
