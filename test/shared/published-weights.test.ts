import { publishWeights } from "@swarmvit/coordinator/vectors/publish-weights";
import { bytesOf } from "@swarmvit/shared/bytes";
import { CODECS } from "@swarmvit/shared/codec";
import { halfTable, toHalf } from "@swarmvit/shared/float16";
import { initialParameters } from "@swarmvit/shared/init";
import { isExact } from "@swarmvit/shared/int8";
import { parameterTable } from "@swarmvit/shared/parameters";
import {
  decodeDeltas,
  decodePublishedHalves,
  deltaBytes,
  encodeAsHalves,
  firstPublished,
} from "@swarmvit/shared/published-weights";
import { uniform } from "@swarmvit/shared/random";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

/** A model cut down to its first tensors: of every kind there is, and quick. */
const whole = parameterTable("xxs", 2);
const parameters = whole.parameters.slice(0, 60);
const { offset, size } = parameters[59];
const table = { ...whole, parameters, parameterCount: offset + size };

const sameBits = (a: Float32Array, b: Float32Array) => Buffer.compare(bytesOf(a), bytesOf(b)) === 0;

/** Moves every weight as an optimizer would: by about `size`, now and then by much more. */
function drift(weights: Float32Array, seed: number, size: number): void {
  for (let i = 0; i < weights.length; i++) {
    const u = uniform(seed, i);
    weights[i] += size * (u - 0.5) * (u > 0.999 ? 1000 : 1);
  }
}

describe("published weights", () => {
  test("every encoding decodes bit-equal to p_t, one and two versions behind", () => {
    fc.assert(
      fc.property(fc.nat(1e6), fc.integer({ min: -9, max: 1 }), (seed, magnitude) => {
        for (const codec of CODECS) {
          const weights = initialParameters(table, seed);
          const published = firstPublished(codec, weights);
          let before: Float32Array | undefined;
          let deltaBefore: Uint8Array | undefined;
          for (let step = 0; step < 3; step++) {
            const previous = published.slice();
            drift(weights, seed + step, 10 ** magnitude);
            const delta = publishWeights(codec, table, weights, published);
            if (codec === "f32") expect(sameBits(published, weights)).toBe(true);
            if (codec === "f16") {
              const halves = encodeAsHalves(published);
              expect(sameBits(decodePublishedHalves(halves, weights.length), published)).toBe(true);
            }
            if (codec !== "int8") {
              expect(delta).toBeUndefined();
              continue;
            }
            if (!delta) throw new Error("a delta was expected");
            expect(delta.byteLength).toBe(deltaBytes(table));
            expect(sameBits(decodeDeltas(table, delta, previous), published)).toBe(true);
            if (before && deltaBefore) {
              const both = Buffer.concat([deltaBefore, delta]);
              expect(sameBits(decodeDeltas(table, both, before), published)).toBe(true);
            }
            [before, deltaBefore] = [previous, delta];
          }
        }
      }),
      { numRuns: 10 },
    );
  });

  test("halves are the nearest ones", () => {
    const weights = initialParameters(table, 5);
    const published = firstPublished("f16", weights);
    expect(published.every((value, i) => value === halfTable()[toHalf(weights[i])])).toBe(true);
  });

  test("rounding errors of deltas do not add up: p follows w within one delta's step", () => {
    const weights = initialParameters(table, 7);
    const published = firstPublished("int8", weights);
    const size = 1e-3;
    for (let step = 0; step < 40; step++) {
      for (let i = 0; i < weights.length; i++) weights[i] += size * (uniform(step, i) - 0.5);
      publishWeights("int8", table, weights, published);
      for (const tensor of table.parameters) {
        const end = tensor.offset + tensor.size;
        let worst = 0;
        for (let i = tensor.offset; i < end; i++)
          worst = Math.max(worst, Math.abs(weights[i] - published[i]));
        // The largest difference is half of `size` and what was left of the step before.
        expect(worst).toBeLessThanOrEqual(isExact(tensor) ? 0 : (0.51 * size) / 254 + 1e-7);
      }
    }
  });

  test("what is neither one delta nor two is refused", () => {
    const previous = new Float32Array(table.parameterCount);
    for (const length of [0, deltaBytes(table) - 4, 3 * deltaBytes(table)])
      expect(() => decodeDeltas(table, new Uint8Array(length), previous)).toThrow(/1 to 2 deltas/);
    expect(() => decodePublishedHalves(new Uint8Array(6), 4)).toThrow(/8 bytes of halves/);
  });
});
