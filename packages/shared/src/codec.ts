/**
 * Encodings of a gradient vector on the wire (DESIGN section 5, codecs). `f32` is exact; `f16` has
 * one power-of-two scale a tensor, since most of a gradient lies below f16's smallest normal number.
 */

import { bytesOf, floatsOf } from "./bytes.ts";
import { halfOfBits, halfTable } from "./float16.ts";
import type { ParameterTable } from "./parameters.ts";

export type Codec = "f32" | "f16";

/** Largest exponent that a scaled tensor's largest element may have: f16 ends just above 2^15. */
const TOP_EXPONENT = 15;

/** Bytes of an encoded gradient: exact, never an upper bound. */
export function encodedGradientBytes(codec: Codec, table: ParameterTable): number {
  if (codec === "f32") return 4 * table.parameterCount;
  return scaleBytes(table) + padTo4(2 * table.parameterCount);
}

/** Encodes [parameterCount] values. `f16` rounds to nearest even after an exact scaling. */
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
  const bytes = new Uint8Array(encodedGradientBytes(codec, table));
  const exponents = new Int16Array(bytes.buffer, 0, table.parameters.length);
  const halves = new Uint16Array(bytes.buffer, scaleBytes(table), table.parameterCount);
  table.parameters.forEach(({ offset, size }, t) => {
    const exponent = exponentOf(gradient, offset, size);
    exponents[t] = exponent;
    const scale = 2 ** -exponent;
    const scaled = new Float32Array(size);
    for (let i = 0; i < size; i++) scaled[i] = gradient[offset + i] * scale;
    const bits = new Uint32Array(scaled.buffer);
    for (let i = 0; i < size; i++) halves[offset + i] = halfOfBits(bits[i]);
  });
  return bytes;
}

/** Decodes to [parameterCount] values. Errors on a wrong length or an impossible scale. */
export function decodeGradient(
  codec: Codec,
  table: ParameterTable,
  bytes: Uint8Array,
): Float32Array {
  const expected = encodedGradientBytes(codec, table);
  if (bytes.byteLength !== expected)
    throw new Error(
      `a ${codec} gradient of ${expected} bytes was expected (got ${bytes.byteLength})`,
    );
  if (codec === "f32") return floatsOf(bytes);
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  const exponents = new Int16Array(aligned.buffer, aligned.byteOffset, table.parameters.length);
  const halves = new Uint16Array(
    aligned.buffer,
    aligned.byteOffset + scaleBytes(table),
    table.parameterCount,
  );
  const values = halfTable();
  const gradient = new Float32Array(table.parameterCount);
  table.parameters.forEach(({ name, offset, size }, t) => {
    if (exponents[t] < -170 || exponents[t] > 120)
      throw new Error(`the scale of ${name} must be 2^-170 to 2^120 (got 2^${exponents[t]})`);
    const scale = 2 ** exponents[t];
    for (let i = offset; i < offset + size; i++) gradient[i] = values[halves[i]] * scale;
  });
  return gradient;
}

/** The exponent e such that max|x|·2^-e lies in [2^14, 2^15); 0 for a tensor of zeros. */
function exponentOf(values: Float32Array, offset: number, size: number): number {
  let max = 0;
  for (let i = offset; i < offset + size; i++) max = Math.max(max, Math.abs(values[i]));
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
