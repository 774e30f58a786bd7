/**
 * `int8` vectors (DESIGN section 5, codecs): blocks of 256 values that never cross tensors, each with
 * one float32 scale; 1-D tensors stay float32. Codes are the exact quotient rounded to nearest even,
 * so that integer arithmetic on a GPU gives the same bytes.
 *
 * Bytes, all little-endian: scales [blocks] float32 · 1-D tensors [exact] float32 · the other tensors
 * [quantised] int8, padded to a multiple of 4. Each part follows the table's order.
 */

import type { ParameterTable, TensorSpec } from "./parameters.ts";

export const BLOCK_VALUES = 256;

const LARGEST_CODE = 127;
/** Below this largest value a block's scale would be subnormal, and its codes worth little: zeros are sent. */
const SMALLEST_BLOCK = LARGEST_CODE * 2 ** -126;
/** Adding and taking away this float64 rounds to the nearest whole number, ties to even. */
const ROUNDER = 1.5 * 2 ** 52;

/** The parts of an encoded vector: the same memory as its bytes. */
export interface Int8Parts {
  readonly scales: Float32Array;
  readonly exact: Float32Array;
  readonly codes: Int8Array;
}

/** True for a tensor that is sent as float32. */
export function isExact({ shape }: TensorSpec): boolean {
  return shape.length < 2;
}

/** Bytes of an encoded vector of this table. */
export function int8Bytes(table: ParameterTable): number {
  const { blocks, exact, codes } = countsOf(table);
  return 4 * (blocks + exact) + codes + ((4 - (codes % 4)) % 4);
}

/** The parts of `bytes`, which must have the table's exact length. Copies where they are not aligned. */
export function int8Parts(table: ParameterTable, bytes: Uint8Array): Int8Parts {
  const { blocks, exact, codes } = countsOf(table);
  const { buffer, byteOffset } = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return {
    scales: new Float32Array(buffer, byteOffset, blocks),
    exact: new Float32Array(buffer, byteOffset + 4 * blocks, exact),
    codes: new Int8Array(buffer, byteOffset + 4 * (blocks + exact), codes),
  };
}

/**
 * Encodes `values` [parameterCount]: scale = fround(max|x| / 127), code = x / scale rounded. A
 * block with a value that is not finite gets the scale NaN, so that whoever decodes it sees it.
 */
export function encodeInt8(table: ParameterTable, values: Float32Array): Uint8Array {
  const bytes = new Uint8Array(int8Bytes(table));
  const { scales, exact, codes } = int8Parts(table, bytes);
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
  const largest = new Float32Array(1);
  const largestBits = new Int32Array(largest.buffer);
  let block = 0;
  let exactAt = 0;
  let code = 0;
  for (const tensor of table.parameters) {
    const tensorEnd = tensor.offset + tensor.size;
    if (isExact(tensor)) {
      exact.set(values.subarray(tensor.offset, tensorEnd), exactAt);
      exactAt += tensor.size;
      continue;
    }
    for (let first = tensor.offset; first < tensorEnd; first += BLOCK_VALUES) {
      const end = Math.min(first + BLOCK_VALUES, tensorEnd);
      largestBits[0] = largestMagnitude(bits, first, end);
      const scale = scaleOf(largest[0]);
      scales[block++] = scale;
      if (scale > 0) encodeBlock(values, first, end, scale, codes, code);
      code += end - first;
    }
  }
  return bytes;
}

/** Decodes into `out` [parameterCount]: fround(code · scale). */
export function decodeInt8(table: ParameterTable, bytes: Uint8Array, out: Float32Array): void {
  const { scales, exact, codes } = int8Parts(table, bytes);
  let block = 0;
  let exactAt = 0;
  let code = 0;
  for (const tensor of table.parameters) {
    const tensorEnd = tensor.offset + tensor.size;
    if (isExact(tensor)) {
      out.set(exact.subarray(exactAt, exactAt + tensor.size), tensor.offset);
      exactAt += tensor.size;
      continue;
    }
    for (let first = tensor.offset; first < tensorEnd; first += BLOCK_VALUES) {
      const end = Math.min(first + BLOCK_VALUES, tensorEnd);
      const scale = scales[block++];
      for (let i = first; i < end; i++) out[i] = codes[code++] * scale;
    }
  }
}

/**
 * out += decoded, one rounding to float32 for the product and one for the sum. The 1-D tensors, which
 * are exact, are added too or take the place of what was there.
 */
export function addInt8(
  table: ParameterTable,
  bytes: Uint8Array,
  out: Float32Array,
  exactTensors: "add" | "replace" = "add",
): void {
  const { scales, exact, codes } = int8Parts(table, bytes);
  let block = 0;
  let exactAt = 0;
  let code = 0;
  for (const tensor of table.parameters) {
    const tensorEnd = tensor.offset + tensor.size;
    if (isExact(tensor)) {
      const values = exact.subarray(exactAt, exactAt + tensor.size);
      exactAt += tensor.size;
      if (exactTensors === "replace") out.set(values, tensor.offset);
      else for (let i = 0; i < values.length; i++) out[tensor.offset + i] += values[i];
      continue;
    }
    for (let first = tensor.offset; first < tensorEnd; first += BLOCK_VALUES) {
      const end = Math.min(first + BLOCK_VALUES, tensorEnd);
      const scale = scales[block++];
      for (let i = first; i < end; i++) out[i] += Math.fround(codes[code++] * scale);
    }
  }
}

/** Bits of the largest magnitude: magnitudes are ordered as their bits are, NaN above infinity. */
function largestMagnitude(bits: Int32Array, first: number, end: number): number {
  let max = 0;
  for (let i = first; i < end; i++) {
    const magnitude = bits[i] & 0x7fffffff;
    if (magnitude > max) max = magnitude;
  }
  return max;
}

function scaleOf(largest: number): number {
  if (!Number.isFinite(largest)) return Number.NaN;
  return largest < SMALLEST_BLOCK ? 0 : Math.fround(largest / LARGEST_CODE);
}

function encodeBlock(
  values: Float32Array,
  first: number,
  end: number,
  scale: number,
  codes: Int8Array,
  code: number,
): void {
  // A quotient of two float32 that is not a tie is farther from one than float64 rounds.
  for (let i = first; i < end; i++) codes[code + i - first] = values[i] / scale + ROUNDER - ROUNDER;
}

function countsOf(table: ParameterTable): { blocks: number; exact: number; codes: number } {
  let blocks = 0;
  let exact = 0;
  for (const tensor of table.parameters) {
    if (isExact(tensor)) exact += tensor.size;
    else blocks += Math.ceil(tensor.size / BLOCK_VALUES);
  }
  return { blocks, exact, codes: table.parameterCount - exact };
}
