/**
 * Encodings of a gradient vector on the wire (DESIGN section 5, codecs). `f32` is exact; `f16` has
 * one power-of-two scale a tensor, since most of a gradient lies below f16's smallest normal number;
 * `int8` has one scale for each block of 256 values (`int8.ts`).
 */

import { bytesOf, floatsOf } from "./bytes.ts";
import { decodeHalves, encodeHalves } from "./float16.ts";
import { decodeInt8, encodeInt8, int8Bytes } from "./int8.ts";
import type { ParameterTable } from "./parameters.ts";

/** From the finest to the coarsest. */
export const CODECS = ["f32", "f16", "int8"] as const;
export type Codec = (typeof CODECS)[number];

/** Largest exponent that a scaled tensor's largest element may have: f16 ends just above 2^15. */
const TOP_EXPONENT = 15;
/** Scales that an encoder can come to: 2^-149 and 2^127 as the largest value. */
const [LEAST_SCALE, MOST_SCALE] = [-170, 120];

/** Bytes of an encoded gradient: exact, never an upper bound. */
export function encodedGradientBytes(codec: Codec, table: ParameterTable): number {
  if (codec === "f32") return 4 * table.parameterCount;
  if (codec === "int8") return int8Bytes(table);
  return scaleBytes(table) + padTo4(2 * table.parameterCount);
}

/**
 * Encodes [parameterCount] values. `f16` rounds to nearest even after an exact scaling; `f32` shares
 * the gradient's memory.
 */
export function encodeGradient(
  codec: Codec,
  table: ParameterTable,
  gradient: Float32Array,
): Uint8Array {
  if (gradient.length !== table.parameterCount)
    throw new Error(
      `a gradient of ${table.parameterCount} values was expected (got ${gradient.length})`,
    );
  if (codec === "f32") return bytesOf(gradient);
  if (codec === "int8") return encodeInt8(table, gradient);
  const bytes = new Uint8Array(encodedGradientBytes(codec, table));
  const { exponents, halves } = f16Parts(table, bytes);
  table.parameters.forEach(({ offset, size }, t) => {
    const tensor = gradient.subarray(offset, offset + size);
    exponents[t] = exponentOf(tensor);
    encodeHalves(tensor, 2 ** -exponents[t], halves.subarray(offset, offset + size));
  });
  return bytes;
}

/** Decodes to [parameterCount] values, new or into `out`. Errors on a wrong length or an impossible scale. */
export function decodeGradient(
  codec: Codec,
  table: ParameterTable,
  bytes: Uint8Array,
  out?: Float32Array,
): Float32Array {
  expectLength(codec, table, bytes);
  if (codec === "f32" && !out) return floatsOf(bytes);
  const gradient = out ?? new Float32Array(table.parameterCount);
  if (codec === "f32") gradient.set(floatsOf(bytes));
  else if (codec === "int8") decodeInt8(table, bytes, gradient);
  else {
    const { exponents, halves } = f16Parts(table, bytes);
    table.parameters.forEach(({ name, offset, size }, t) => {
      expectScale(name, exponents[t]);
      const end = offset + size;
      const scale = 2 ** exponents[t];
      decodeHalves(halves.subarray(offset, end), scale, gradient.subarray(offset, end));
    });
  }
  return gradient;
}

function expectLength(codec: Codec, table: ParameterTable, bytes: Uint8Array): void {
  const expected = encodedGradientBytes(codec, table);
  if (bytes.byteLength !== expected)
    throw new Error(
      `a ${codec} gradient of ${expected} bytes was expected (got ${bytes.byteLength})`,
    );
}

function expectScale(name: string, exponent: number): void {
  if (exponent < LEAST_SCALE || exponent > MOST_SCALE)
    throw new Error(
      `the scale of ${name} must be 2^${LEAST_SCALE} to 2^${MOST_SCALE} (got 2^${exponent})`,
    );
}

/** One exponent a tensor and one half a value: the same memory as `bytes` where that is aligned. */
export function f16Parts(table: ParameterTable, bytes: Uint8Array) {
  const { buffer, byteOffset } = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return {
    exponents: new Int16Array(buffer, byteOffset, table.parameters.length),
    halves: new Uint16Array(buffer, byteOffset + scaleBytes(table), table.parameterCount),
  };
}

/** A tensor's scale is 2^e: the exponent e such that max|x|·2^-e lies in [2^14, 2^15); 0 for a tensor of zeros. */
export function exponentOf(values: Float32Array): number {
  let max = 0;
  for (let i = 0; i < values.length; i++) max = Math.max(max, Math.abs(values[i]));
  if (max === 0 || !Number.isFinite(max)) return 0;
  let exponent = Math.floor(Math.log2(max)); // may be one off near a power of two: put right below
  while (2 ** exponent > max) exponent--;
  while (2 ** (exponent + 1) <= max) exponent++;
  return exponent - (TOP_EXPONENT - 1);
}

function scaleBytes(table: ParameterTable): number {
  return padTo4(2 * table.parameters.length);
}

function padTo4(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}
