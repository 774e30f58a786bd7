/**
 * The loops over long vectors that a step waits for, in WebAssembly. Vectors stay where they are: a
 * chunk at a time is copied into a few hundred KiB that stay in the processor's cache.
 */

import { readFileSync } from "node:fs";
import { encodedGradientBytes, exponentOf, f16Parts } from "@swarmvit/shared/codec";
import {
  BLOCK_VALUES,
  type Int8Parts,
  int8Bytes,
  int8Parts,
  int8Places,
} from "@swarmvit/shared/int8";
import type { ParameterTable, TensorSpec } from "@swarmvit/shared/parameters";
import type { AdamWConfig, AdamWState, AdamWStep } from "../core/optimizer.ts";

/** Encoded gradients that are summed in one pass, at most. */
export const MOST_SUMMED = 8;

/** What `assembly/index.ts` exports: the loops, and `assembly/layout.ts`. */
interface Exports {
  readonly VALUES: WebAssembly.Global;
  readonly ARRAYS: WebAssembly.Global;
  readonly ARRAY_BYTES: WebAssembly.Global;
  readonly FRAMES: WebAssembly.Global;
  readonly FRAME_BYTES: WebAssembly.Global;
  readonly SCALES_BYTES: WebAssembly.Global;
  sum(count: number, values: number): void;
  delta(values: number): void;
  halves(values: number, scale1: number, scale2: number): void;
  adamw(
    values: number,
    keep: number,
    rate: number,
    root2: number,
    beta1: number,
    beta2: number,
    epsilon: number,
  ): void;
}

export interface VectorKernels {
  /**
   * out = the sum of 1, 2, 4 or 8 encoded gradients, decoded on the way, each half's sum before
   * the whole's: the bits of `decodeInt8` and of additions along the tree.
   */
  sumInt8(table: ParameterTable, encoded: readonly Uint8Array[], out: Float32Array): void;
  /**
   * Takes the step from `published` to `weights` as `int8` can say it, and returns that: the bytes of
   * `encodeInt8` on the difference. 1-D tensors, which are exact, are the weights' own.
   */
  publishDelta(table: ParameterTable, weights: Float32Array, published: Float32Array): Uint8Array;
  /**
   * Rounds a gradient to what the codec `f16` can say of it, and returns that: the bytes of
   * `encodeGradient`. They take the memory of those before, where there are any.
   */
  roundToHalves(table: ParameterTable, gradient: Float32Array, before?: Uint8Array): Uint8Array;
  /**
   * One step, in place: w ← w·(1 - lr·decay) - lr·m̂/(√v̂ + ε). Arithmetic in float64, one rounding
   * a stored value: a resume from a checkpoint must see the same numbers.
   */
  stepAdamW(
    state: AdamWState,
    gradient: Float32Array,
    tensors: readonly TensorSpec[],
    config: AdamWConfig,
    step: AdamWStep,
  ): void;
}

/** Values [first, first + count) of a vector: their codes and blocks begin there in the encoded one. */
interface Chunk {
  readonly first: number;
  readonly count: number;
  readonly code: number;
  readonly block: number;
  readonly blocks: number;
}

let opened: VectorKernels | undefined;

/** The kernels of this thread. Errors where they were not built. */
export function vectorKernels(): VectorKernels {
  opened ??= openKernels();
  return opened;
}

function openKernels(): VectorKernels {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 16 });
  const { exports } = new WebAssembly.Instance(compile(), { env: { memory } });
  const { sum, delta, halves, adamw, ...layout } = exports as unknown as Exports;
  const { buffer } = memory;
  /** Values of a chunk: whole blocks. */
  const most: number = layout.VALUES.value;
  const arrays = [0, 1, 2, 3].map(
    (i) => new Float32Array(buffer, layout.ARRAYS.value + i * layout.ARRAY_BYTES.value, most),
  );
  const halfArray = new Uint16Array(buffer, arrays[1].byteOffset, most);
  const frames = Array.from({ length: MOST_SUMMED }, (_, i) => {
    const at = layout.FRAMES.value + i * layout.FRAME_BYTES.value;
    return {
      scales: new Float32Array(buffer, at, most / BLOCK_VALUES),
      codes: new Int8Array(buffer, at + layout.SCALES_BYTES.value, most),
    };
  });
  /** The table's tensors in order: whole where they are exact, the others in chunks. */
  const visit = (
    table: ParameterTable,
    visitExact: (first: number, size: number, exact: number) => void,
    visitChunk: (chunk: Chunk) => void,
  ) => {
    const places = int8Places(table);
    table.parameters.forEach(({ offset, size }, t) => {
      const place = places[t];
      if ("exact" in place) {
        visitExact(offset, size, place.exact);
        return;
      }
      for (let at = 0; at < size; at += most) {
        const count = Math.min(most, size - at);
        const blocks = Math.ceil(count / BLOCK_VALUES);
        const block = place.block + at / BLOCK_VALUES;
        visitChunk({ first: offset + at, count, code: place.code + at, block, blocks });
      }
    });
  };

  return {
    sumInt8(table, encoded, out) {
      const parts = encoded.map((bytes) => int8Parts(table, bytes));
      visit(
        table,
        (first, size, exact) => sumExact(parts, exact, size, out, first),
        ({ first, count, code, block, blocks }) => {
          for (let i = 0; i < parts.length; i++) {
            frames[i].scales.set(parts[i].scales.subarray(block, block + blocks));
            frames[i].codes.set(parts[i].codes.subarray(code, code + count));
          }
          sum(parts.length, count);
          out.set(arrays[0].subarray(0, count), first);
        },
      );
    },

    publishDelta(table, weights, published) {
      const bytes = new Uint8Array(int8Bytes(table));
      const { scales, exact, codes } = int8Parts(table, bytes);
      visit(
        table,
        (first, size, at) => {
          const values = weights.subarray(first, first + size);
          exact.set(values, at);
          published.set(values, first);
        },
        ({ first, count, code, block, blocks }) => {
          stage(arrays[0], weights, first, count);
          stage(arrays[1], published, first, count);
          delta(count);
          published.set(arrays[1].subarray(0, count), first);
          scales.set(frames[0].scales.subarray(0, blocks), block);
          codes.set(frames[0].codes.subarray(0, count), code);
        },
      );
      return bytes;
    },

    roundToHalves(table, gradient, before) {
      const bytes = before ?? new Uint8Array(encodedGradientBytes("f16", table));
      const parts = f16Parts(table, bytes);
      table.parameters.forEach(({ offset, size }, t) => {
        const exponent = exponentOf(gradient.subarray(offset, offset + size));
        parts.exponents[t] = exponent;
        const half = Math.floor(exponent / 2);
        for (let first = offset; first < offset + size; first += most) {
          const count = Math.min(most, offset + size - first);
          stage(arrays[0], gradient, first, count);
          halves(count, 2 ** half, 2 ** (exponent - half));
          parts.halves.set(halfArray.subarray(0, count), first);
          gradient.set(arrays[0].subarray(0, count), first);
        }
      });
      return bytes;
    },

    stepAdamW({ weights, firstMoment, secondMoment }, gradient, tensors, config, step) {
      const { beta1, beta2, epsilon, weightDecay, decayed } = config;
      const { lr, biasCorrection1, biasCorrection2 } = step;
      const vectors = [weights, firstMoment, secondMoment, gradient];
      const root2 = Math.sqrt(biasCorrection2);
      for (const { offset, size, shape } of tensors) {
        const keep = decayed === "all" || shape.length > 1 ? 1 - lr * weightDecay : 1;
        for (let first = offset; first < offset + size; first += most) {
          const count = Math.min(most, offset + size - first);
          for (let i = 0; i < 4; i++) stage(arrays[i], vectors[i], first, count);
          adamw(count, keep, lr / biasCorrection1, root2, beta1, beta2, epsilon);
          for (let i = 0; i < 3; i++) vectors[i].set(arrays[i].subarray(0, count), first);
        }
      }
    },
  };
}

/** Copies values into an array, with zeros behind them up to a whole vector. */
function stage(array: Float32Array, vector: Float32Array, first: number, count: number): void {
  array.set(vector.subarray(first, first + count));
  for (let i = count; i % 4 !== 0; i++) array[i] = 0;
}

/** The values that were sent as they are, along the tree like the others. */
function sumExact(
  parts: readonly Int8Parts[],
  at: number,
  size: number,
  out: Float32Array,
  offset: number,
): void {
  const values = parts.map(({ exact }) => exact);
  for (let i = 0; i < size; i++) out[offset + i] = treeSum(values, at + i, 0, parts.length);
}

function treeSum(values: readonly Float32Array[], at: number, first: number, end: number): number {
  if (end - first === 1) return values[first][at];
  const middle = (first + end) >> 1;
  return Math.fround(treeSum(values, at, first, middle) + treeSum(values, at, middle, end));
}

function compile(): WebAssembly.Module {
  const url = new URL("./build/vectors.wasm", import.meta.url);
  try {
    return new WebAssembly.Module(readFileSync(url));
  } catch (cause) {
    throw new Error(`vectors.wasm cannot be loaded; run "node scripts/build-wasm.mjs"`, { cause });
  }
}
