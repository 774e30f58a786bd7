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

/** Where a tensor lies in the parts: its first value in `exact`, or its first code and block. */
export type Int8Place =
  | { readonly exact: number }
  | { readonly code: number; readonly block: number };

/** The places of the table's tensors, in its order. */
export function int8Places(table: ParameterTable): Int8Place[] {
  let [exact, code, block] = [0, 0, 0];
  return table.parameters.map((tensor): Int8Place => {
    const place = isExact(tensor) ? { exact } : { code, block };
    if (isExact(tensor)) exact += tensor.size;
    else {
      code += tensor.size;
      block += Math.ceil(tensor.size / BLOCK_VALUES);
    }
    return place;
  });
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
  walk(
    table,
    (offset, size, at) => exact.set(values.subarray(offset, offset + size), at),
    (first, end, block, code) => {
      largestBits[0] = largestMagnitude(bits, first, end);
      const scale = scaleOf(largest[0]);
      scales[block] = scale;
      if (scale > 0) encodeBlock(values, first, end, scale, codes, code);
    },
  );
  return bytes;
}

/** Decodes into `out` [parameterCount]: fround(code · scale). */
export function decodeInt8(table: ParameterTable, bytes: Uint8Array, out: Float32Array): void {
  const { scales, exact, codes } = int8Parts(table, bytes);
  walk(
    table,
    (offset, size, at) => out.set(exact.subarray(at, at + size), offset),
    (first, end, block, code) => decodeBlock(out, first, end, codes, code, scales, block),
  );
}

/**
 * What a delta does: out += decoded, one rounding to float32 for the product and one for the sum; the
 * 1-D tensors, which are exact, take the place of what was there.
 */
export function applyInt8(table: ParameterTable, bytes: Uint8Array, out: Float32Array): void {
  const { scales, exact, codes } = int8Parts(table, bytes);
  walk(
    table,
    (offset, size, at) => out.set(exact.subarray(at, at + size), offset),
    (first, end, block, code) => addBlock(out, first, end, codes, code, scales, block),
  );
}

/** The tensors in order: 1-D ones as (place in the vector, size, place in `exact`), the others block by block. */
function walk(
  table: ParameterTable,
  visitExact: (offset: number, size: number, at: number) => void,
  visitBlock: (first: number, end: number, block: number, code: number) => void,
): void {
  let block = 0;
  let exactAt = 0;
  let code = 0;
  for (const tensor of table.parameters) {
    const { offset, size } = tensor;
    if (isExact(tensor)) {
      visitExact(offset, size, exactAt);
      exactAt += size;
      continue;
    }
    for (let first = offset; first < offset + size; first += BLOCK_VALUES) {
      const end = Math.min(first + BLOCK_VALUES, offset + size);
      visitBlock(first, end, block++, code);
      code += end - first;
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

// The loops over a block's values are functions of their own, with all they need as arguments: inside a
// closure each value took twice as long. `fround` changes no bit and lets the engine work in float32.

function decodeBlock(
  out: Float32Array,
  first: number,
  end: number,
  codes: Int8Array,
  code: number,
  scales: Float32Array,
  block: number,
): void {
  const scale = scales[block];
  for (let i = first, at = code; i < end; i++, at++) out[i] = Math.fround(codes[at] * scale);
}

function addBlock(
  out: Float32Array,
  first: number,
  end: number,
  codes: Int8Array,
  code: number,
  scales: Float32Array,
  block: number,
): void {
  const scale = scales[block];
  for (let i = first, at = code; i < end; i++, at++)
    out[i] = Math.fround(out[i] + Math.fround(codes[at] * scale));
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
