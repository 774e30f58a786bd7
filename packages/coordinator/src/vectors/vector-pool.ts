/**
 * Memory for copies of long vectors, used again: the first touch of fresh memory costs up to twenty
 * times the copy.
 */

import { bytesOf } from "@swarmvit/shared/bytes";

export interface VectorPool {
  /** A copy of `vector`, in memory of its own. */
  copyOf(vector: Float32Array): Uint8Array;
  /** Takes a copy's memory back; what has another length is left to the collector. */
  recycle(copy: Uint8Array): void;
}

/** A step drops one, and the first after an evaluation its moving average too. */
const SPARE = 4;

/** Opens a pool for vectors of `length` values; others are copied without it. */
export function openVectorPool(length: number): VectorPool {
  const spare: Float32Array[] = [];
  return {
    copyOf(vector) {
      const memory = vector.length === length ? spare.pop() : undefined;
      if (!memory) return bytesOf(vector.slice());
      memory.set(vector);
      return bytesOf(memory);
    },
    recycle({ buffer, byteLength }) {
      const isWhole = byteLength === 4 * length && buffer.byteLength === byteLength;
      if (isWhole && spare.length < SPARE) spare.push(new Float32Array(buffer));
    },
  };
}
