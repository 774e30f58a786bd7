import { bytesOf } from "@swarmvit/shared/bytes";
import { decodeGradient, encodedGradientBytes, encodeGradient } from "@swarmvit/shared/codec";
import {
  applyInt8,
  BLOCK_VALUES,
  decodeInt8,
  encodeInt8,
  int8Bytes,
  int8Parts,
  isExact,
} from "@swarmvit/shared/int8";
import { type ParameterTable, parameterTable } from "@swarmvit/shared/parameters";
import { uniform } from "@swarmvit/shared/random";
import { sha256Hex } from "@swarmvit/shared/sha256";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tableOf, vectors } from "../support/int8-vectors.ts";

const sameBits = (a: ArrayBufferView, b: ArrayBufferView) =>
  Buffer.compare(bytesOf(a), bytesOf(b)) === 0;

const decoded = (table: ParameterTable, bytes: Uint8Array) =>
  decodeGradient("int8", table, bytes, new Float32Array(table.parameterCount));

/** First and end of each block, straight from the definition. */
function* blocksOf(table: ParameterTable) {
  for (const tensor of table.parameters) {
    if (isExact(tensor)) continue;
    for (let i = 0; i < tensor.size; i += BLOCK_VALUES)
      yield [tensor.offset + i, tensor.offset + Math.min(i + BLOCK_VALUES, tensor.size)] as const;
  }
}

describe("int8", () => {
  test("every value is within half a step of its block, and its tensor's shape decides who is exact", () => {
    fc.assert(
      fc.property(vectors, ({ table, values }) => {
        const bytes = encodeInt8(table, values);
        expect(bytes.byteLength).toBe(encodedGradientBytes("int8", table));
        const result = decoded(table, bytes);
        for (const tensor of table.parameters.filter(isExact)) {
          const range = [tensor.offset, tensor.offset + tensor.size] as const;
          expect(sameBits(result.subarray(...range), values.subarray(...range))).toBe(true);
        }
        for (const [first, end] of blocksOf(table)) {
          let max = 0;
          for (let i = first; i < end; i++) max = Math.max(max, Math.abs(values[i]));
          const step = max < 127 * 2 ** -126 ? max * 2 : max / 127;
          let worst = 0;
          for (let i = first; i < end; i++)
            worst = Math.max(worst, Math.abs(result[i] - values[i]));
          expect(worst).toBeLessThanOrEqual(step * 0.50001);
        }
      }),
      { numRuns: 150 },
    );
  });

  test("agrees with a plain implementation of the definition, bit for bit", () => {
    fc.assert(
      fc.property(vectors, ({ table, values }) => {
        const { scales, codes } = int8Parts(table, encodeInt8(table, values));
        let code = 0;
        let block = 0;
        for (const [first, end] of blocksOf(table)) {
          const max = values.slice(first, end).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
          const scale = max < 127 * 2 ** -126 ? 0 : Math.fround(max / 127);
          expect(scales[block++]).toBe(scale);
          const expected: number[] = [];
          for (let i = first; i < end; i++) {
            const exact = scale === 0 ? 0 : values[i] * (1 / scale);
            const low = Math.floor(exact);
            const up = exact - low > 0.5 || (exact - low === 0.5 && low % 2 !== 0);
            expected.push(low + (up ? 1 : 0));
          }
          expect(codes.subarray(code, code + end - first).join()).toBe(expected.join());
          code += end - first;
        }
      }),
      { numRuns: 100 },
    );
  });

  test("a delta is decoded and added, one rounding each; 1-D tensors are replaced", () => {
    fc.assert(
      fc.property(vectors, ({ table, values }) => {
        const bytes = encodeInt8(table, values);
        const sum = values.map((value, i) => value * (uniform(7, i) - 0.5));
        const delta = decoded(table, bytes);
        const expected = delta.map((value, i) => Math.fround(sum[i] + value));
        for (const tensor of table.parameters.filter(isExact)) {
          const range = [tensor.offset, tensor.offset + tensor.size] as const;
          expected.set(delta.subarray(...range), tensor.offset);
        }
        applyInt8(table, bytes, sum);
        expect(sameBits(sum, expected)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  test("blocks never cross tensors: one large value spoils its own block only", () => {
    const table = tableOf([10, 30], [2, 5]);
    const values = new Float32Array(310).fill(1e-3);
    values[3] = 1e6;
    const result = decoded(table, encodeInt8(table, values));
    expect(result.subarray(0, 256).every((value, i) => value === 0 || i === 3)).toBe(true);
    expect(result.subarray(256).every((value) => Math.abs(value / 1e-3 - 1) < 1e-6)).toBe(true);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "%s is not lost",
    (bad) => {
      const table = tableOf([10, 30], [4]);
      for (const at of [0, 255, 299, 302]) {
        const values = new Float32Array(304).fill(1);
        values[at] = bad;
        expect(decoded(table, encodeInt8(table, values)).every(Number.isFinite)).toBe(false);
      }
    },
  );

  test("known answer", () => {
    const table = tableOf([2], [1, 4]);
    const bytes = encodeInt8(table, Float32Array.of(0.1, -0.2, 127, -63.5, 0.5, 1.5));
    expect(Buffer.from(bytes).toString("hex")).toBe("0000803fcdcccc3dcdcc4cbe7fc00002");
    expect([...decoded(table, bytes)].slice(2)).toEqual([127, -64, 0, 2]);
    const model = parameterTable("xxs", 1000);
    const gradient = Float32Array.from({ length: model.parameterCount }, (_, i) =>
      Math.fround((uniform(11, i) - 0.5) * 1e-3),
    );
    expect(sha256Hex(encodeInt8(model, gradient))).toBe(
      "b924a65eaf428230310d4d64be31520079a44d695444b127240b0abc7d59ae04",
    );
  });

  test("sizes: XXS with 1000 classes is a quarter of float32", () => {
    const table = parameterTable("xxs", 1000);
    expect(int8Bytes(table)).toBe(1_332_776);
    expect(encodedGradientBytes("f32", table)).toBe(5_088_096);
  });

  test("decodes from an unaligned view; a wrong length is refused", () => {
    const table = tableOf([3, 100]);
    const values = Float32Array.from({ length: 300 }, (_, i) => i - 150);
    const bytes = encodeGradient("int8", table, values);
    const shifted = new Uint8Array(bytes.byteLength + 3).subarray(3);
    shifted.set(bytes);
    const out = new Float32Array(300);
    decodeInt8(table, shifted, out);
    expect(sameBits(out, decoded(table, bytes))).toBe(true);
    expect(() => decodeGradient("int8", table, bytes.subarray(4))).toThrow(/304/);
  });
});
