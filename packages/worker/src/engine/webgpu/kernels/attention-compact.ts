/**
 * Attention for a compiler that takes long over each load and store (SwiftShader): channels in loops, and
 * sums that live in the result instead of registers. The same arithmetic and bindings as attention.ts.
 */

import { type Kernel, kernel } from "../kernel.ts";
import { ATTENTION_PARAMS } from "./attention.ts";

/** id is (sequence, head, row), as in logSumExp [S, heads, N]; `own` is the row's place in qkv, `to` in y. */
const PLACE = `let i = id % p.N;
let head = id / p.N % p.heads;
let s = id / (p.N * p.heads);
let width = p.heads * p.n;
let to = (s * p.N + i) * width + head * p.n;
let own = (s * p.N + i) * width * 3u + head * p.n;`;

/** y = softmax(q·k·scale)·v for one query an invocation, and the row's log of the sum of exps. */
export function compactAttentionKernel(workgroup: number): Kernel {
  return kernel(
    {
      key: "attention/compact",
      params: ATTENTION_PARAMS,
      reads: [["qkv", "f32"]],
      writes: [
        ["y", "f32"],
        ["logSumExp", "f32"],
      ],
      // Of the two exponentials of a running maximum one is always that of zero.
      body: `${PLACE}
var top = -3.0e38;
var total = 0.0;
for (var j = 0u; j < p.N; j++) {
let at = (s * p.N + j) * width * 3u + head * p.n + width;
var score = 0.0;
for (var c = 0u; c < p.n; c++) { score = fma(qkv[own + c], qkv[at + c], score); }
score *= p.scale;
let higher = score > top;
let e = exp(-abs(score - top));
let keep = select(1.0, e, higher);
let share = select(e, 1.0, higher);
top = max(top, score);
total = fma(total, keep, share);
for (var c = 0u; c < p.n; c++) {
y[to + c] = fma(share, qkv[at + width + c], select(y[to + c] * keep, 0.0, j == 0u));
}
}
for (var c = 0u; c < p.n; c++) { y[to + c] /= total; }
logSumExp[id] = top + log(total);`,
    },
    workgroup,
  );
}

/** dq of one query an invocation; also delta = dy·y, which the other half needs. */
export function compactAttentionQueryGradKernel(workgroup: number): Kernel {
  return kernel(
    {
      key: "attentionQueryGrad/compact",
      params: ATTENTION_PARAMS,
      reads: [
        ["qkv", "f32"],
        ["y", "f32"],
        ["logSumExp", "f32"],
        ["dy", "f32"],
      ],
      writes: [
        ["dqkv", "f32"],
        ["delta", "f32"],
      ],
      body: `${PLACE}
var d = 0.0;
for (var c = 0u; c < p.n; c++) {
d = fma(y[to + c], dy[to + c], d);
dqkv[own + c] = 0.0;
}
delta[id] = d;
let norm = logSumExp[id];
for (var j = 0u; j < p.N; j++) {
let at = (s * p.N + j) * width * 3u + head * p.n + width;
var score = 0.0;
var dp = 0.0;
for (var c = 0u; c < p.n; c++) {
score = fma(qkv[own + c], qkv[at + c], score);
dp = fma(dy[to + c], qkv[at + width + c], dp);
}
let ds = exp(score * p.scale - norm) * (dp - d) * p.scale;
for (var c = 0u; c < p.n; c++) { dqkv[own + c] = fma(ds, qkv[at + c], dqkv[own + c]); }
}`,
    },
    workgroup,
  );
}

/** dk and dv of one key an invocation. */
export function compactAttentionKeyGradKernel(workgroup: number): Kernel {
  return kernel(
    {
      key: "attentionKeyGrad/compact",
      params: ATTENTION_PARAMS,
      reads: [
        ["qkv", "f32"],
        ["logSumExp", "f32"],
        ["dy", "f32"],
        ["delta", "f32"],
      ],
      writes: [["dqkv", "f32"]],
      body: `${PLACE}
let key = own + width;
let value = key + width;
for (var c = 0u; c < p.n; c++) {
dqkv[key + c] = 0.0;
dqkv[value + c] = 0.0;
}
for (var j = 0u; j < p.N; j++) {
let row = id - i + j;
let other = (s * p.N + j) * width + head * p.n;
let at = (s * p.N + j) * width * 3u + head * p.n;
var score = 0.0;
var dp = 0.0;
for (var c = 0u; c < p.n; c++) {
score = fma(qkv[at + c], qkv[key + c], score);
dp = fma(dy[other + c], qkv[value + c], dp);
}
let probability = exp(score * p.scale - logSumExp[row]);
let ds = probability * (dp - delta[row]) * p.scale;
for (var c = 0u; c < p.n; c++) {
dqkv[value + c] = fma(probability, dy[other + c], dqkv[value + c]);
dqkv[key + c] = fma(ds, qkv[at + c], dqkv[key + c]);
}
}`,
    },
    workgroup,
  );
}
