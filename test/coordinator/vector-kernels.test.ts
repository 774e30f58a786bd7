/** The coordinator's WASM loops say the bits of plain ones. */

import { ADAMW_DEFAULTS, biasCorrections } from "@swarmvit/coordinator/core/optimizer";
import { MOST_SUMMED, vectorKernels } from "@swarmvit/coordinator/vectors/kernels";
import { bytesOf } from "@swarmvit/shared/bytes";
import { decodeGradient, encodeGradient } from "@swarmvit/shared/codec";
import { applyInt8, decodeInt8, encodeInt8, isExact } from "@swarmvit/shared/int8";
import type { ParameterTable } from "@swarmvit/shared/parameters";
import { uniform } from "@swarmvit/shared/random";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tableOf, vectors } from "../support/int8-vectors.ts";

const kernels = vectorKernels();

/** Several chunks of one tensor, with a last block that is short, between tensors that are exact. */
const LARGE = tableOf([7], [201, 203], [5], [3, 3]);

const bitsOf = (vector: ArrayBufferView) => Buffer.from(bytesOf(vector)).toString("hex");

const decoded = (table: ParameterTable, bytes: Uint8Array) => {
  const values = new Float32Array(table.parameterCount);
  decodeInt8(table, bytes, values);
  return values;
};

/** (first half) + (second half), and so on down. */
function treeSum(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0];
  const left = treeSum(parts.slice(0, parts.length / 2));
  const right = treeSum(parts.slice(parts.length / 2));
  return left.map((value, i) => Math.fround(value + right[i]));
}

const varied = (table: ParameterTable, seed: number, scale = 1) =>
  Float32Array.from(
    { length: table.parameterCount },
    (_, i) => scale * 10 ** (-4 * uniform(seed, i)) * (2 * uniform(seed + 1, i) - 1),
  );

describe("sums of encoded gradients", () => {
  const expectSum = (table: ParameterTable, encoded: readonly Uint8Array[]) => {
    const out = new Float32Array(table.parameterCount).fill(Number.NaN);
    kernels.sumInt8(table, encoded, out);
    expect(bitsOf(out)).toBe(bitsOf(treeSum(encoded.map((bytes) => decoded(table, bytes)))));
  };

  test("are the tree's, for any table", () => {
    fc.assert(
      fc.property(vectors, fc.constantFrom(1, 2, 4, 8), ({ table, values }, count) => {
        const encoded = Array.from({ length: count }, (_, k) =>
          encodeInt8(
            table,
            values.map((value, i) => value * uniform(k, i)),
          ),
        );
        expectSum(table, encoded);
      }),
      { numRuns: 100 },
    );
  });

  test.each([1, 2, 4, 8])("of %i over several chunks", (count) => {
    expect(count).toBeLessThanOrEqual(MOST_SUMMED);
    expectSum(
      LARGE,
      Array.from({ length: count }, (_, k) => encodeInt8(LARGE, varied(LARGE, 10 * k))),
    );
  });
});

describe("the delta to the next published weights", () => {
  const expectDelta = (table: ParameterTable, weights: Float32Array, before: Float32Array) => {
    const difference = weights.map((value, i) => Math.fround(value - before[i]));
    for (const { offset, size } of table.parameters.filter(isExact))
      difference.set(weights.subarray(offset, offset + size), offset);
    const expected = encodeInt8(table, difference);
    const after = before.slice();
    applyInt8(table, expected, after);
    const published = before.slice();
    const delta = kernels.publishDelta(table, weights, published);
    expect(bitsOf(delta)).toBe(bitsOf(expected));
    expect(bitsOf(published)).toBe(bitsOf(after));
  };

  test("is the difference's encoding, and is taken, for any table", () => {
    fc.assert(
      fc.property(vectors, ({ table, values }) => {
        expectDelta(
          table,
          values,
          values.map((value, i) => value * uniform(3, i)),
        );
      }),
      { numRuns: 150 },
    );
  });

  test("at the smallest block that has a scale, and just below it", () => {
    const table = tableOf([4, 64]);
    const smallest = 127 * 2 ** -126;
    for (const largest of [smallest, smallest * (1 - 2 ** -24), smallest * (1 - 2 ** -15)]) {
      const weights = varied(table, 6, largest);
      weights[100] = largest;
      expectDelta(table, weights, new Float32Array(256));
    }
  });

  test("over several chunks, where nothing changes, and in a tensor that is not finite", () => {
    const before = varied(LARGE, 1);
    const weights = varied(LARGE, 2, 1e-3).map((value, i) => value + before[i]);
    expectDelta(LARGE, weights, before);
    expectDelta(LARGE, before, before);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      weights[30_000] = bad;
      const published = before.slice();
      kernels.publishDelta(LARGE, weights, published);
      expect(published.every(Number.isFinite)).toBe(false);
    }
  });
});

describe("half precision", () => {
  const expectHalves = (table: ParameterTable, gradient: Float32Array) => {
    const expected = encodeGradient("f16", table, gradient);
    const rounded = gradient.slice();
    const used = new Uint8Array(expected.byteLength); // padding stays as it was: zero
    expect(bitsOf(kernels.roundToHalves(table, rounded, used))).toBe(bitsOf(expected));
    expect(bitsOf(rounded)).toBe(bitsOf(decodeGradient("f16", table, expected)));
    expect(bitsOf(kernels.roundToHalves(table, gradient.slice()))).toBe(bitsOf(expected));
  };

  test("is the codec's, for any table", () => {
    fc.assert(
      fc.property(vectors, ({ table, values }) => expectHalves(table, values)),
      { numRuns: 150 },
    );
  });

  test("over several chunks; ties, subnormal halves and those just below", () => {
    expectHalves(LARGE, varied(LARGE, 5, 1e-3));
    const table = tableOf([4096]);
    // The largest sets the scale to 1; the others walk through all exponents of a half and below.
    const walk = Float32Array.from({ length: 4096 }, (_, i) =>
      i === 0 ? 32_767 : (i % 2 ? -1 : 1) * 2 ** (15 - (i % 45)) * (1 + (i >> 5) / 2048),
    );
    expectHalves(table, walk);
  });
});

test.each(["all", "matrices"] as const)("AdamW in float64, decay of %s", (decayed) => {
  const config = { ...ADAMW_DEFAULTS, weightDecay: 0.05, decayed };
  const { beta1, beta2, epsilon, weightDecay } = config;
  const weights = varied(LARGE, 4);
  const zeros = () => new Float32Array(LARGE.parameterCount);
  const state = { weights: weights.slice(), firstMoment: zeros(), secondMoment: zeros() };
  const plain = { weights, firstMoment: zeros(), secondMoment: zeros() };
  for (let t = 1; t <= 3; t++) {
    const gradient = varied(LARGE, 10 * t, 1e-3);
    const step = { lr: 1e-3, ...biasCorrections(config, t) };
    kernels.stepAdamW(state, gradient, LARGE.parameters, config, step);
    const { firstMoment, secondMoment } = plain;
    const root2 = Math.sqrt(step.biasCorrection2);
    for (const { offset, size, shape } of LARGE.parameters) {
      const keep = decayed === "all" || shape.length > 1 ? 1 - step.lr * weightDecay : 1;
      for (let i = offset; i < offset + size; i++) {
        const g = gradient[i];
        firstMoment[i] = beta1 * firstMoment[i] + (1 - beta1) * g;
        secondMoment[i] = beta2 * secondMoment[i] + (1 - beta2) * g * g;
        const rate = step.lr / step.biasCorrection1;
        const root = Math.sqrt(secondMoment[i]) / root2;
        weights[i] = weights[i] * keep - (rate * firstMoment[i]) / (root + epsilon);
      }
    }
    for (const name of ["weights", "firstMoment", "secondMoment"] as const)
      expect(bitsOf(state[name])).toBe(bitsOf(plain[name]));
  }
});
