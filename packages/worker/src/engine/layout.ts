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
  eachKernel(specs, (torchIndex, engineIndex) => {
    engine[engineIndex] = vector[torchIndex];
  });
  return engine;
}

/** Copies a flat vector in the engine's layouts back into PyTorch's. */
export function fromEngineLayout(specs: readonly TensorSpec[], vector: Float32Array): Float32Array {
  const torch = copyOf(specs, vector);
  eachKernel(specs, (torchIndex, engineIndex) => {
    torch[torchIndex] = vector[engineIndex];
  });
  return torch;
}

function copyOf(specs: readonly TensorSpec[], vector: Float32Array): Float32Array {
  const last = specs.at(-1);
  const length = last ? last.offset + last.size : 0;
  if (vector.length !== length)
    throw new Error(`expected a vector of ${length} numbers for this model, got ${vector.length}`);
  return vector.slice();
}

/** Visits the elements of every 3x3 kernel: [O, I, tap] in PyTorch is [tap, I, O] in the engine. */
function eachKernel(
  specs: readonly TensorSpec[],
  visit: (torchIndex: number, engineIndex: number) => void,
): void {
  for (const { shape, offset } of specs) {
    if (shape.length !== 4 || shape[2] * shape[3] === 1) continue;
    const [outputs, inputs] = shape;
    const taps = shape[2] * shape[3];
    for (let o = 0; o < outputs; o++)
      for (let i = 0; i < inputs; i++)
        for (let t = 0; t < taps; t++)
          visit(offset + (o * inputs + i) * taps + t, offset + (t * inputs + i) * outputs + o);
  }
}
