/**
 * Normalisation as plain loops for `cpu` and `wasm`: one pass where TF.js would make ten. Sums
 * over rows are kept in float64, so a single pass over x and x² is exact enough.
 */

import { hostKernel } from "./host-kernels.ts";

/** Σ over rows: [M, C] → [C]. */
export const columnSums = hostKernel<object>("ColumnSums", ([x], [out]) => {
  const channels = out.length;
  const sum = new Float64Array(channels);
  let row = 0;
  for (; row + 4 * channels <= x.length; row += 4 * channels)
    for (let c = 0, i = row; c < channels; c++, i++)
      sum[c] += x[i] + x[i + channels] + x[i + 2 * channels] + x[i + 3 * channels];
  for (; row < x.length; row += channels) for (let c = 0; c < channels; c++) sum[c] += x[row + c];
  out.set(sum);
});

/** Σ over rows of a·b: [M, C], [M, C] → [C]. */
export const columnDots = hostKernel<object>("ColumnDots", ([a, b], [out]) => {
  const channels = out.length;
  const sum = new Float64Array(channels);
  for (let row = 0; row < a.length; row += channels)
    for (let c = 0; c < channels; c++) sum[c] += a[row + c] * b[row + c];
  out.set(sum);
});

/** x [M, C], gamma, beta → z = gamma·x̂ + beta [M, C]; mean, unbiased variance, rstd [C]. */
export const batchNormalise = hostKernel<{ epsilon: number }>(
  "BatchNormalise",
  ([x, gamma, beta], [z, mean, variance, rstd], { epsilon }) => {
    const channels = mean.length;
    const n = x.length / channels;
    const sum = new Float64Array(channels);
    const squares = new Float64Array(channels);
    let row = 0;
    for (; row + 4 * channels <= x.length; row += 4 * channels)
      for (let c = 0, i = row; c < channels; c++, i++) {
        const p = x[i];
        const q = x[i + channels];
        const r = x[i + 2 * channels];
        const s = x[i + 3 * channels];
        sum[c] += p + q + (r + s);
        squares[c] += p * p + q * q + (r * r + s * s);
      }
    for (; row < x.length; row += channels)
      for (let c = 0; c < channels; c++) {
        sum[c] += x[row + c];
        squares[c] += x[row + c] * x[row + c];
      }
    for (let c = 0; c < channels; c++) {
      const deviation = Math.max(0, squares[c] - (sum[c] * sum[c]) / n);
      mean[c] = sum[c] / n;
      variance[c] = deviation / (n - 1);
      rstd[c] = 1 / Math.sqrt(deviation / n + epsilon);
    }
    scaleAndShift(x, gamma, beta, mean, rstd, z);
  },
);

/** x [M, C], gamma, beta, mean, rstd [C] → z = gamma·x̂ + beta. */
export const renormalise = hostKernel<object>("Renormalise", ([x, gamma, beta, mean, rstd], [z]) =>
  scaleAndShift(x, gamma, beta, mean, rstd, z),
);

/**
 * Gradient of SiLU (if z and its sigmoid are given) and batch norm: x, gamma, mean, rstd, dy, z, s →
 * dx [M, C], dgamma, dbeta [C]. dx = scale·(dz - Σdz/n - x̂·Σ(dz·x̂)/n).
 */
export const batchNormaliseGrad = hostKernel<object>(
  "BatchNormaliseGrad",
  ([x, gamma, mean, rstd, dy, z, s], [dx, dgamma, dbeta]) => {
    const channels = gamma.length;
    const n = x.length / channels;
    const sum = new Float64Array(channels);
    const dot = new Float64Array(channels);
    // dz, kept in dx until its sums are known
    if (z) for (let i = 0; i < x.length; i++) dx[i] = dy[i] * s[i] * (1 + z[i] * (1 - s[i]));
    else dx.set(dy);
    for (let row = 0; row < x.length; row += channels)
      for (let c = 0, i = row; c < channels; c++, i++) {
        const dz = dx[i];
        sum[c] += dz;
        dot[c] += dz * x[i];
      }
    const onGradient = new Float64Array(channels);
    const onInput = new Float64Array(channels);
    const constant = new Float64Array(channels);
    for (let c = 0; c < channels; c++) {
      const centred = (dot[c] - mean[c] * sum[c]) * rstd[c]; // Σ dz·x̂
      dgamma[c] = centred;
      dbeta[c] = sum[c];
      onGradient[c] = gamma[c] * rstd[c];
      onInput[c] = (-onGradient[c] * rstd[c] * centred) / n;
      constant[c] = (-onGradient[c] * sum[c]) / n - onInput[c] * mean[c];
    }
    for (let row = 0; row < x.length; row += channels)
      for (let c = 0, i = row; c < channels; c++, i++)
        dx[i] = dx[i] * onGradient[c] + x[i] * onInput[c] + constant[c];
  },
);

/** x [M, C], gamma, beta [C] → y [M, C]; mean, rstd [M]. */
export const layerNormalise = hostKernel<{ epsilon: number }>(
  "LayerNormalise",
  ([x, gamma, beta], [y, mean, rstd], { epsilon }) => {
    const channels = gamma.length;
    for (let m = 0, row = 0; m < mean.length; m++, row += channels) {
      let [sum, squares] = [0, 0];
      for (let c = 0; c < channels; c++) {
        sum += x[row + c];
        squares += x[row + c] * x[row + c];
      }
      const average = sum / channels;
      const variance = Math.max(0, squares / channels - average * average);
      const scale = 1 / Math.sqrt(variance + epsilon);
      mean[m] = average;
      rstd[m] = scale;
      for (let c = 0; c < channels; c++)
        y[row + c] = (x[row + c] - average) * scale * gamma[c] + beta[c];
    }
  },
);

/** x [M, C], gamma [C], mean, rstd [M], dy [M, C] → dx [M, C]; dgamma, dbeta [C]. */
export const layerNormaliseGrad = hostKernel<object>(
  "LayerNormaliseGrad",
  ([x, gamma, mean, rstd, dy], [dx, dgamma, dbeta]) => {
    const channels = gamma.length;
    const gammaSum = new Float64Array(channels);
    const betaSum = new Float64Array(channels);
    for (let m = 0, row = 0; m < mean.length; m++, row += channels) {
      let [sum, dot] = [0, 0];
      for (let c = 0, i = row; c < channels; c++, i++) {
        const normal = (x[i] - mean[m]) * rstd[m];
        const scaled = dy[i] * gamma[c];
        gammaSum[c] += dy[i] * normal;
        betaSum[c] += dy[i];
        sum += scaled;
        dot += scaled * normal;
      }
      const [average, slope] = [sum / channels, dot / channels];
      for (let c = 0, i = row; c < channels; c++, i++) {
        const normal = (x[i] - mean[m]) * rstd[m];
        dx[i] = (dy[i] * gamma[c] - average - normal * slope) * rstd[m];
      }
    }
    dgamma.set(gammaSum);
    dbeta.set(betaSum);
  },
);

function scaleAndShift(
  x: Float32Array,
  gamma: Float32Array,
  beta: Float32Array,
  mean: Float32Array,
  rstd: Float32Array,
  z: Float32Array,
): void {
  const channels = gamma.length;
  const scale = Float64Array.from(gamma, (g, c) => g * rstd[c]);
  const shift = Float64Array.from(beta, (b, c) => b - mean[c] * scale[c]);
  for (let row = 0; row < x.length; row += channels)
    for (let c = 0, i = row; c < channels; c++, i++) z[i] = x[i] * scale[c] + shift[c];
}
