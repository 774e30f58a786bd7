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
  walk(
    table,
    (offset, size, at) => {
      if (exactTensors === "replace") out.set(exact.subarray(at, at + size), offset);
      else for (let i = 0; i < size; i++) out[offset + i] += exact[at + i];
    },
    (first, end, block, code) => addBlock(out, first, end, codes, code, scales, block),
  );
}

/** out = left + right, both decoded on the way: the bits of `decodeInt8` and `addInt8`, in one pass. */
export function sumInt8(
  table: ParameterTable,
  left: Uint8Array,
  right: Uint8Array,
  out: Float32Array,
): void {
  const a = int8Parts(table, left);
  const b = int8Parts(table, right);
  walk(
    table,
    (offset, size, at) => {
      for (let i = 0; i < size; i++) out[offset + i] = a.exact[at + i] + b.exact[at + i];
    },
    (first, end, block, code) =>
      sumBlock(out, first, end, code, block, a.codes, a.scales, b.codes, b.scales),
  );
}

/**
 * out = (a + b) + (c + d), all four decoded on the way: the bits of two `sumInt8` and their sum, in one
 * pass, without writing and reading the two halves.
 */
export function sumFourInt8(
  table: ParameterTable,
  encoded: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array],
  out: Float32Array,
): void {
  const [a, b, c, d] = encoded.map((bytes) => int8Parts(table, bytes));
  const { fround } = Math;
  walk(
    table,
    (offset, size, at) => {
      for (let i = at; i < at + size; i++)
        out[offset + i - at] = fround(a.exact[i] + b.exact[i]) + fround(c.exact[i] + d.exact[i]);
    },
    (first, end, block, code) => {
      sumFourBlocks(a, b, c, d, block, code, out, first, end);
    },
  );
}

/** One block of four; apart, so that the engine compiles the loop once and keeps everything in registers. */
function sumFourBlocks(
  a: Int8Parts,
  b: Int8Parts,
  c: Int8Parts,
  d: Int8Parts,
  block: number,
  code: number,
  out: Float32Array,
  first: number,
  end: number,
): void {
  const { fround } = Math;
  const [aScale, aCodes] = [a.scales[block], a.codes];
  const [bScale, bCodes] = [b.scales[block], b.codes];
  const [cScale, cCodes] = [c.scales[block], c.codes];
  const [dScale, dCodes] = [d.scales[block], d.codes];
  for (let i = first, at = code; i < end; i++, at++) {
    const left = fround(fround(aCodes[at] * aScale) + fround(bCodes[at] * bScale));
    const right = fround(fround(cCodes[at] * cScale) + fround(dCodes[at] * dScale));
    out[i] = fround(left + right);
  }
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

function sumBlock(
  out: Float32Array,
  first: number,
  end: number,
  code: number,
  block: number,
  left: Int8Array,
  leftScales: Float32Array,
  right: Int8Array,
  rightScales: Float32Array,
): void {
  const leftScale = leftScales[block];
  const rightScale = rightScales[block];
  let i = first;
  let at = code;
  // Four values a round: a third less time, and each is the same sum.
  for (; i <= end - 4; i += 4, at += 4) {
    out[i] = Math.fround(Math.fround(left[at] * leftScale) + Math.fround(right[at] * rightScale));
    out[i + 1] = Math.fround(
      Math.fround(left[at + 1] * leftScale) + Math.fround(right[at + 1] * rightScale),
    );
    out[i + 2] = Math.fround(
      Math.fround(left[at + 2] * leftScale) + Math.fround(right[at + 2] * rightScale),
    );
    out[i + 3] = Math.fround(
      Math.fround(left[at + 3] * leftScale) + Math.fround(right[at + 3] * rightScale),
    );
  }
  for (; i < end; i++, at++)
    out[i] = Math.fround(Math.fround(left[at] * leftScale) + Math.fround(right[at] * rightScale));
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
