/**
 * The border between PyTorch's weight layouts, which are stored and sent, and the engine's, which
 * kernels like. A tensor keeps its place in the flat vector; only its elements change order.
 */

import type { TensorSpec } from "@swarmvit/shared/parameters";

/**
 * Shape of a tensor in the engine: [N, K] for linear and 1x1 convolutions, [3, 3, Cin, Cout] for
 * dense and [3, 3, C] for depthwise 3x3 convolutions, unchanged for vectors.
 */
export function engineShape({ shape }: Pick<TensorSpec, "shape">): readonly number[] {
  if (shape.length !== 4) return shape;
  const [outputs, inputs, kh, kw] = shape;
  if (kh * kw === 1) return [outputs, inputs];
  return inputs === 1 ? [kh, kw, outputs] : [kh, kw, inputs, outputs];
}

/** Copies a flat vector in PyTorch's layouts ([out, in, k, k]) into the engine's, same offsets. */
export function toEngineLayout(specs: readonly TensorSpec[], vector: Float32Array): Float32Array {
  const engine = copyOf(specs, vector);
  for (const { outputs, rest, offset } of kernelsOf(specs))
    turn(vector, engine, offset, outputs, rest);
  return engine;
}

/** Copies a flat vector in the engine's layouts back into PyTorch's. */
export function fromEngineLayout(specs: readonly TensorSpec[], vector: Float32Array): Float32Array {
  const torch = copyOf(specs, vector);
  for (const { outputs, rest, offset } of kernelsOf(specs))
    turnBack(vector, torch, offset, outputs, rest);
  return torch;
}

function copyOf(specs: readonly TensorSpec[], vector: Float32Array): Float32Array {
  const last = specs.at(-1);
  const length = last ? last.offset + last.size : 0;
  if (vector.length !== length)
    throw new Error(`expected a vector of ${length} numbers for this model, got ${vector.length}`);
  return vector.slice();
}

interface Kernel {
  readonly offset: number;
  readonly outputs: number;
  /** [inputs, taps]. */
  readonly rest: readonly [number, number];
}

/** The 3x3 kernels: [O, I, tap] in PyTorch is [tap, I, O] in the engine. */
function kernelsOf(specs: readonly TensorSpec[]): Kernel[] {
  return specs
    .filter(({ shape }) => shape.length === 4 && shape[2] * shape[3] > 1)
    .map(({ shape: [outputs, inputs, kh, kw], offset }) => ({
      offset,
      outputs,
      rest: [inputs, kh * kw],
    }));
}

// Plain loops: a node's gradient passes here, and a call for each element costs milliseconds.

function turn(
  torch: Float32Array,
  engine: Float32Array,
  offset: number,
  outputs: number,
  [inputs, taps]: readonly [number, number],
): void {
  for (let o = 0; o < outputs; o++) {
    let from = offset + o * inputs * taps;
    for (let i = 0; i < inputs; i++)
      for (let t = 0; t < taps; t++)
        engine[offset + (t * inputs + i) * outputs + o] = torch[from++];
  }
}

function turnBack(
  engine: Float32Array,
  torch: Float32Array,
  offset: number,
  outputs: number,
  [inputs, taps]: readonly [number, number],
): void {
  for (let o = 0; o < outputs; o++) {
    let to = offset + o * inputs * taps;
    for (let i = 0; i < inputs; i++)
      for (let t = 0; t < taps; t++) torch[to++] = engine[offset + (t * inputs + i) * outputs + o];
  }
}
