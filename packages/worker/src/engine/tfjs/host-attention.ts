/**
 * Attention as plain loops for `cpu` and `wasm`, one head of one sequence at a time: heads here
 * are too small (16 to 60 channels) for the WASM backend's batched product, which has no fast path.
 */

import { hostKernel } from "./host-kernels.ts";

export interface AttentionShape {
  readonly sequences: number; // S
  readonly positions: number; // N
  readonly heads: number;
  readonly headDim: number;
}

/** qkv [S, N, 3d] → y [S, N, d], logSumExp [S, heads, N]. */
export const hostAttention = hostKernel<AttentionShape>(
  "Attention",
  ([qkv], [y, logSumExp], { sequences, positions, heads, headDim }) => {
    const d = heads * headDim;
    const scale = headDim ** -0.5;
    const row = new Float64Array(positions);
    const sum = new Float64Array(headDim);
    for (let s = 0; s < sequences; s++)
      for (let h = 0; h < heads; h++) {
        const start = s * positions * 3 * d + h * headDim;
        for (let i = 0; i < positions; i++) {
          const q = start + i * 3 * d;
          let most = Number.NEGATIVE_INFINITY;
          for (let j = 0; j < positions; j++) {
            row[j] = scale * dot(qkv, q, qkv, start + d + j * 3 * d, headDim);
            if (row[j] > most) most = row[j];
          }
          let total = 0;
          sum.fill(0);
          for (let j = 0; j < positions; j++) {
            const p = Math.exp(row[j] - most);
            total += p;
            const v = start + 2 * d + j * 3 * d;
            for (let c = 0; c < headDim; c++) sum[c] += p * qkv[v + c];
          }
          const to = (s * positions + i) * d + h * headDim;
          for (let c = 0; c < headDim; c++) y[to + c] = sum[c] / total;
          logSumExp[(s * heads + h) * positions + i] = most + Math.log(total);
        }
      }
  },
);

/** qkv, y, logSumExp, dy [S, N, d] → dqkv [S, N, 3d]. */
export const hostAttentionGrad = hostKernel<AttentionShape>(
  "AttentionGrad",
  ([qkv, y, logSumExp, dy], [dqkv], { sequences, positions, heads, headDim }) => {
    const d = heads * headDim;
    const scale = headDim ** -0.5;
    const dq = new Float64Array(headDim);
    const dk = new Float64Array(positions * headDim);
    const dv = new Float64Array(positions * headDim);
    for (let s = 0; s < sequences; s++)
      for (let h = 0; h < heads; h++) {
        const start = s * positions * 3 * d + h * headDim;
        dk.fill(0);
        dv.fill(0);
        for (let i = 0; i < positions; i++) {
          const q = start + i * 3 * d;
          const g = (s * positions + i) * d + h * headDim;
          const lse = logSumExp[(s * heads + h) * positions + i];
          const rowDot = dot(dy, g, y, g, headDim); // Σ_j P·dP
          dq.fill(0);
          for (let j = 0; j < positions; j++) {
            const k = start + d + j * 3 * d;
            const p = Math.exp(scale * dot(qkv, q, qkv, k, headDim) - lse);
            const ds = scale * p * (dot(dy, g, qkv, k + d, headDim) - rowDot);
            for (let c = 0, o = j * headDim; c < headDim; c++, o++) {
              dq[c] += ds * qkv[k + c];
              dk[o] += ds * qkv[q + c];
              dv[o] += p * dy[g + c];
            }
          }
          for (let c = 0; c < headDim; c++) dqkv[q + c] = dq[c];
        }
        for (let j = 0; j < positions; j++) {
          const k = start + d + j * 3 * d;
          for (let c = 0; c < headDim; c++) {
            dqkv[k + c] = dk[j * headDim + c];
            dqkv[k + d + c] = dv[j * headDim + c];
          }
        }
      }
  },
);

/** Two running sums: one would wait for each addition. */
function dot(a: Float32Array, i: number, b: Float32Array, j: number, length: number): number {
  let [even, odd] = [0, 0];
  let c = 0;
  for (; c + 1 < length; c += 2) {
    even += a[i + c] * b[j + c];
    odd += a[i + c + 1] * b[j + c + 1];
  }
  return c < length ? even + odd + a[i + c] * b[j + c] : even + odd;
}
