import { f16round } from "@petamoriken/float16";
import { bytesOf, crc32 } from "@swarmvit/shared/bytes";
import { decodeGradient, encodedGradientBytes, encodeGradient } from "@swarmvit/shared/codec";
import { halfTable, toHalf } from "@swarmvit/shared/float16";
import {
  checkHeader,
  decodeFrame,
  encodeFrame,
  FrameError,
  type FrameId,
  frameBytes,
} from "@swarmvit/shared/frame";
import { parameterTable } from "@swarmvit/shared/parameters";
import { uniform } from "@swarmvit/shared/random";
import { sha256Hex } from "@swarmvit/shared/sha256";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

const table = parameterTable("xxs", 10);

const id: FrameId = {
  run: "0123456789abcdef",
  kind: "gradient",
  codec: "f32",
  step: 17,
  level: 1,
  index: 2,
  samples: 48,
  lease: 2 ** 40 + 3,
  token: "00112233445566778899aabbccddeeff",
};

/** Values over many magnitudes, different in every tensor. */
function gradientOf(seed: number): Float32Array {
  const gradient = new Float32Array(table.parameterCount);
  table.parameters.forEach(({ offset, size }, t) => {
    const scale = 10 ** (Math.floor(uniform(seed, t) * 12) - 9);
    for (let i = offset; i < offset + size; i++)
      gradient[i] = scale * (2 * uniform(seed + 1, i) - 1);
  });
  return gradient;
}

const contribution = {
  report: { loss: 110.25, top1: 5, top5: 20, computeMs: 12.5 },
  statistics: Float32Array.from({ length: table.statisticsCount }, (_, i) => i / 7),
  gradient: gradientOf(3),
};

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof FrameError) return error.code;
    throw error;
  }
  return "none";
};

/** Vitest compares typed arrays value by value, seconds for a million; bytes are as strict. */
const sameBits = (a: Float32Array, b: Float32Array) => Buffer.compare(bytesOf(a), bytesOf(b)) === 0;

test("halves agree with an independent implementation, both ways", () => {
  const values = halfTable();
  for (let bits = 0; bits < 65536; bits++) {
    const value = values[bits];
    if (Number.isNaN(value)) continue;
    if (toHalf(value) !== bits) expect(toHalf(value), `half ${bits}`).toBe(bits);
  }
  fc.assert(
    fc.property(fc.float({ noNaN: true }), (value) => {
      expect(values[toHalf(value)]).toBe(f16round(value));
    }),
    { numRuns: 20_000 },
  );
  for (const edge of [65519.99, 65520, 2 ** -25, 2 ** -24 * 1.5, 2 ** -14 - 2 ** -26, -0])
    expect(values[toHalf(edge)]).toBe(f16round(Math.fround(edge)));
});

describe("codecs", () => {
  test("f32 is exact", () => {
    const bytes = encodeGradient("f32", table, contribution.gradient);
    expect(sameBits(decodeGradient("f32", table, bytes), contribution.gradient)).toBe(true);
  });

  test("f16 keeps 11 bits of a tensor's large values, whatever the tensor's magnitude", () => {
    const bytes = encodeGradient("f16", table, contribution.gradient);
    expect(bytes.byteLength).toBe(encodedGradientBytes("f16", table));
    const decoded = decodeGradient("f16", table, bytes);
    for (const { offset, size, name } of table.parameters) {
      const tensor = contribution.gradient.subarray(offset, offset + size);
      const max = tensor.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      const worst = tensor.reduce((a, b, i) => Math.max(a, Math.abs(decoded[offset + i] - b)), 0);
      expect(worst, name).toBeLessThanOrEqual(max * 2 ** -11);
    }
  });

  test("f16 survives zeros, denormals and the largest floats, and is stable when encoded again", () => {
    const gradient = new Float32Array(table.parameterCount);
    gradient[0] = 3.4e38;
    gradient[table.parameters[1].offset] = 1e-44;
    const decoded = decodeGradient("f16", table, encodeGradient("f16", table, gradient));
    expect(decoded[0] / 3.4e38).toBeCloseTo(1, 3);
    expect(decoded[table.parameters[1].offset]).toBe(gradient[table.parameters[1].offset]);
    expect(decoded.every(Number.isFinite)).toBe(true);
    const again = decodeGradient("f16", table, encodeGradient("f16", table, decoded));
    expect(sameBits(again, decoded)).toBe(true);
  });

  test("a wrong length is refused with both lengths", () => {
    expect(() => decodeGradient("f16", table, new Uint8Array(12))).toThrow(
      /\d+ bytes was expected \(got 12\)/,
    );
    expect(() => encodeGradient("f32", table, new Float32Array(3))).toThrow(/got 3/);
  });
});

describe("the contribution frame", () => {
  test.each(["f32", "f16", "int8"] as const)("round trip, %s", (codec) => {
    const bytes = encodeFrame({ ...id, codec }, table, contribution);
    expect(bytes.byteLength).toBe(frameBytes("gradient", codec, table));
    const decoded = decodeFrame(bytes, { ...id, codec }, table);
    expect(decoded.report).toEqual(contribution.report);
    expect(decoded.statistics).toEqual(contribution.statistics);
    if (codec === "f32") expect(sameBits(decoded.gradient, contribution.gradient)).toBe(true);
  });

  test("an evaluation carries no vectors", () => {
    const evaluation = { ...id, kind: "evaluation" as const };
    const bytes = encodeFrame(evaluation, table, contribution);
    expect(bytes.byteLength).toBe(104);
    expect(decodeFrame(bytes, evaluation, table).report).toEqual(contribution.report);
  });

  test("decodes from an unaligned view, as Node's pooled buffers are", () => {
    const bytes = encodeFrame(id, table, contribution);
    const shifted = new Uint8Array(bytes.byteLength + 3).subarray(3);
    shifted.set(bytes);
    expect(sameBits(decodeFrame(shifted, id, table).gradient, contribution.gradient)).toBe(true);
  });

  test.each([
    ["VERSION", 4, 9],
    ["CODEC", 6, 1],
    ["CODEC", 6, 77],
    ["KIND", 7, 1],
    ["RUN", 9, 0xff],
    ["STEP", 16, 18],
    ["NODE", 20, 0],
    ["NODE", 24, 3],
    ["SAMPLES", 28, 49],
    ["LEASE", 32, 9],
    ["SIZE", 40, 25],
    ["SIZE", 44, 1],
    ["SIZE", 50, 1],
    ["TOKEN", 60, 0],
    ["MALFORMED", 0, 0],
  ])("a header that differs is refused: %s (byte %d)", (code, offset, value) => {
    const bytes = encodeFrame(id, table, contribution);
    bytes[offset] = value;
    expect(codeOf(() => checkHeader(bytes, id, table))).toBe(code);
  });

  test("a damaged payload, a short or a long frame is refused", () => {
    const bytes = encodeFrame(id, table, contribution);
    bytes[bytes.length - 1] ^= 1;
    expect(codeOf(() => decodeFrame(bytes, id, table))).toBe("CHECKSUM");
    expect(codeOf(() => decodeFrame(bytes.subarray(0, bytes.length - 4), id, table))).toBe("SIZE");
    expect(codeOf(() => decodeFrame(bytes.subarray(0, 10), id, table))).toBe("MALFORMED");
  });

  test("impossible counts and a loss that is not a number are refused", () => {
    const answer = (report: Partial<typeof contribution.report>) =>
      codeOf(() =>
        decodeFrame(
          encodeFrame(id, table, {
            ...contribution,
            report: { ...contribution.report, ...report },
          }),
          id,
          table,
        ),
      );
    expect(answer({ top1: 21 })).toBe("COUNTS");
    expect(answer({ top5: 49 })).toBe("COUNTS");
    expect(answer({ loss: -1 })).toBe("COUNTS");
    expect(answer({ loss: Number.NaN })).toBe("NON_FINITE");
  });

  test("any rubbish is a FrameError, never another one", () => {
    const sound = encodeFrame({ ...id, kind: "evaluation" }, table, contribution);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.tuple(fc.nat(sound.length - 1), fc.integer({ min: 1, max: 255 })).map(([at, flip]) => {
            const copy = sound.slice();
            copy[at] ^= flip;
            return copy;
          }),
        ),
        (bytes) => {
          expect(codeOf(() => decodeFrame(bytes, { ...id, kind: "evaluation" }, table))).not.toBe(
            "none",
          );
        },
      ),
      { numRuns: 500 },
    );
  });
});

test("known answers: CRC-32 and SHA-256", () => {
  const bytes = new TextEncoder().encode("123456789");
  expect(crc32(bytes)).toBe(0xcbf43926);
  expect(crc32(bytes.subarray(4), crc32(bytes.subarray(0, 4)))).toBe(0xcbf43926);
  expect(sha256Hex(new TextEncoder().encode("abc"))).toBe(
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
});
