/** Sums, averages and norms of gradients: flat arrays, one rounding to float32 a value. */

/** out = left + right, elementwise in float32. `out` may be `left`. */
export function addVectors(out: Float32Array, left: Float32Array, right: Float32Array): void {
  // `fround` changes no bit and lets the engine add in float32: half the time.
  for (let i = 0; i < out.length; i++) out[i] = Math.fround(left[i] + right[i]);
}

/** The step's gradient: `sum` over its N samples, in place. */
export function averageGradient(sum: Float32Array, samples: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i] / samples;
}

/** L2 norm, accumulated in float64: a float32 sum of squares can overflow. Not finite when a value is not. */
export function gradientNorm(gradient: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < gradient.length; i++) sum += gradient[i] * gradient[i];
  return Math.sqrt(sum);
}

/** Scales the gradient in place so that its norm, `norm` before, is at most `limit`. */
export function clipGradient(gradient: Float32Array, norm: number, limit: number): void {
  if (norm <= limit) return;
  const scale = limit / norm;
  for (let i = 0; i < gradient.length; i++) gradient[i] *= scale;
}

/** Share of a step's own statistics in the running ones (torch's momentum). */
const STATISTICS_MOMENTUM = 0.1;

/** running ← 0.9·running + 0.1·Σ(b·s)/Σb, in place; `sums` is Σ(b·s) over the step's units. */
export function updateStatistics(running: Float32Array, sums: Float32Array, samples: number): void {
  for (let i = 0; i < running.length; i++)
    running[i] = (1 - STATISTICS_MOMENTUM) * running[i] + STATISTICS_MOMENTUM * (sums[i] / samples);
}
