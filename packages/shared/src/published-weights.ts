/**
 * The published weights p_t and the encodings they travel in (DESIGN section 5). The optimizer's own
 * w is kept apart and carries the rounding error, so that errors do not add up over steps. Every
 * encoding decodes bit-equal to p_t.
 */

import { bytesOf } from "./bytes.ts";
import type { Codec } from "./codec.ts";
import { decodeHalves, encodeHalves } from "./float16.ts";
import { applyInt8, int8Bytes } from "./int8.ts";
import type { ParameterTable } from "./parameters.ts";

/** A volunteer this many versions behind still goes on by deltas; further back it fetches all of p_t. */
export const DELTAS_KEPT = 2;

/** The first p, before any step: w itself, or what half precision can say of it. */
export function firstPublished(codec: Codec, weights: Float32Array): Float32Array {
  return codec === "f16"
    ? decodePublishedHalves(encodeAsHalves(weights), weights.length)
    : weights.slice();
}

/** The halves of a vector: of p_t where the codec is `f16`, without loss. */
export function encodeAsHalves(values: Float32Array): Uint8Array {
  const halves = new Uint16Array(values.length);
  encodeHalves(values, 1, halves);
  return bytesOf(halves);
}

/** p from its halves. Errors on a wrong length. */
export function decodePublishedHalves(bytes: Uint8Array, count: number): Float32Array {
  if (bytes.byteLength !== 2 * count)
    throw new Error(`${2 * count} bytes of halves were expected (got ${bytes.byteLength})`);
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  const published = new Float32Array(count);
  decodeHalves(new Uint16Array(aligned.buffer, aligned.byteOffset, count), 1, published);
  return published;
}

/** Bytes of one delta. */
export function deltaBytes(table: ParameterTable): number {
  return int8Bytes(table);
}

/** p_t from an earlier p and the deltas between them, oldest first, one after another in `bytes`. */
export function decodeDeltas(
  table: ParameterTable,
  bytes: Uint8Array,
  previous: Float32Array,
): Float32Array {
  const each = deltaBytes(table);
  const count = bytes.byteLength / each;
  if (!Number.isInteger(count) || count < 1 || count > DELTAS_KEPT)
    throw new Error(
      `1 to ${DELTAS_KEPT} deltas of ${each} bytes were expected (got ${bytes.byteLength} bytes)`,
    );
  const published = previous.slice();
  for (let i = 0; i < count; i++)
    applyInt8(table, bytes.subarray(i * each, (i + 1) * each), published);
  return published;
}
