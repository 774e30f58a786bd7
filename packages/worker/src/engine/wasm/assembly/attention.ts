/**
 * Multi-head self-attention and its gradient; a task is one head of one sequence.
 *
 * Scores are computed for eight queries at a time, keys along rows and queries along lanes
 * ([keys][8]), so that maxima and sums need no horizontal operation, and so that the block is
 * already packed as the left factor of the product with the values.
 */

import { address, bytes, float, int } from "./command";
import { ACCUMULATE, packPanel, packRows, tile, ZERO } from "./tile";
import { expNegated4, fma, put } from "./vector";

/** Queries whose probabilities are kept at once in the gradient. */
const QUERIES = 32;

@inline
function roundUp(n: i32): i32 {
  return (n + 3) & ~3;
}

/** scores [N][8] = keys · queriesᵀ, from packed keys and a panel of queries. */
function scoreBlock(keys: usize, queries: usize, n: i32, width: i32, scores: usize): void {
  for (let i = 0; i < n; i += 4) {
    tile(keys, 16, queries, 32, width, scores, 32, ZERO, 0, 4, 8);
    keys += bytes(4 * width);
    scores += 128;
  }
}

/** out[rows, columns] = blockᵀ · matrix over n rows; block [n][8], at most eight rows. */
function multiplyBlock(
  block: usize,
  n: i32,
  matrix: usize,
  stride: usize,
  out: usize,
  outStride: usize,
  rows: i32,
  columns: i32,
): void {
  for (let i = 0; i < rows; i += 4) {
    for (let j = 0; j < columns; j += 8) {
      const to = out + bytes(j);
      tile(block, 32, matrix + bytes(j), stride, n, to, outStride, ZERO, 0, rows - i, columns - j);
    }
    block += 16;
    out += 4 * outStride;
  }
}

/** Arguments: qkv, y, logSumExp, N, d, heads, scale. */
export function attention(command: usize, task: i32, scratch: usize): void {
  const n = int(command, 3);
  const d = int(command, 4);
  const heads = int(command, 5);
  const scale = f32x4.splat(float(command, 6));
  const width = d / heads;
  const s = task / heads;
  const h = task % heads;
  const stride = bytes(3 * d);
  const q = address(command, 0) + bytes(s * n * 3 * d + h * width);
  const k = q + bytes(d);
  const v = k + bytes(d);
  const y = address(command, 1) + bytes(s * n * d + h * width);
  const logSumExp = address(command, 2) + bytes(task * n);
  const keys = scratch;
  const queries = keys + bytes(roundUp(n) * width);
  const scores = queries + bytes(8 * width);
  packRows(k, stride, n, width, keys);
  for (let i = 0; i < n; i += 8) {
    const rows = min(8, n - i);
    packPanel(q + <usize>i * stride, stride, rows, width, queries);
    scoreBlock(keys, queries, n, width, scores);
    let m0 = v128.load(scores);
    let m1 = v128.load(scores, 16);
    let p = scores;
    for (let j = 1; j < n; j++) {
      p += 32;
      m0 = f32x4.pmax(m0, v128.load(p));
      m1 = f32x4.pmax(m1, v128.load(p, 16));
    }
    let s0 = f32x4.splat(0);
    let s1 = s0;
    p = scores;
    for (let j = 0; j < n; j++) {
      const e0 = expNegated4(f32x4.mul(f32x4.sub(m0, v128.load(p)), scale));
      const e1 = expNegated4(f32x4.mul(f32x4.sub(m1, v128.load(p, 16)), scale));
      s0 = f32x4.add(s0, e0);
      s1 = f32x4.add(s1, e1);
      v128.store(p, e0);
      v128.store(p, e1, 16);
      p += 32;
    }
    put(logSumExp + bytes(i), fma(m0, scale, log4(s0)), rows);
    put(logSumExp + bytes(i + 4), fma(m1, scale, log4(s1)), rows - 4);
    const r0 = f32x4.div(f32x4.splat(1), s0);
    const r1 = f32x4.div(f32x4.splat(1), s1);
    p = scores;
    for (let j = 0; j < n; j++) {
      v128.store(p, f32x4.mul(v128.load(p), r0));
      v128.store(p, f32x4.mul(v128.load(p, 16), r1), 16);
      p += 32;
    }
    multiplyBlock(scores, n, v, stride, y + bytes(i * d), bytes(d), rows, width);
  }
}

function log4(x: v128): v128 {
  return f32x4(
    Mathf.log(f32x4.extract_lane(x, 0)),
    Mathf.log(f32x4.extract_lane(x, 1)),
    Mathf.log(f32x4.extract_lane(x, 2)),
    Mathf.log(f32x4.extract_lane(x, 3)),
  );
}

/** Arguments: qkv, y, logSumExp, dy, dqkv, N, d, heads, scale. */
export function attentionGrad(command: usize, task: i32, scratch: usize): void {
  const n = int(command, 5);
  const d = int(command, 6);
  const heads = int(command, 7);
  const scale = f32x4.splat(float(command, 8));
  const width = d / heads;
  const s = task / heads;
  const h = task % heads;
  const stride = bytes(3 * d);
  const outStride = bytes(d);
  const place = bytes(s * n * 3 * d + h * width);
  const q = address(command, 0) + place;
  const k = q + bytes(d);
  const v = k + bytes(d);
  const dq = address(command, 4) + place;
  const dk = dq + bytes(d);
  const dv = dk + bytes(d);
  const y = address(command, 1) + bytes(s * n * d + h * width);
  const dy = address(command, 3) + bytes(s * n * d + h * width);
  const logSumExp = address(command, 2) + bytes(task * n);

  const padded = roundUp(n);
  const keys = scratch;
  const values = keys + bytes(padded * width);
  const queries = values + bytes(padded * width);
  const upstream = queries + bytes(8 * width);
  const outputs = upstream + bytes(8 * width);
  const chances = outputs + bytes(8 * width); // P [N][8], then dS
  const slopes = chances + bytes(8 * padded);
  const keptChances = slopes + bytes(8 * padded); // [QUERIES][N]
  const keptSlopes = keptChances + bytes(QUERIES * padded);
  packRows(k, stride, n, width, keys);
  packRows(v, stride, n, width, values);

  for (let block = 0; block < n; block += QUERIES) {
    const depth = min(QUERIES, n - block);
    for (let i = block; i < block + depth; i += 8) {
      const rows = min(8, n - i);
      packPanel(q + <usize>i * stride, stride, rows, width, queries);
      packPanel(dy + <usize>i * outStride, outStride, rows, width, upstream);
      packPanel(y + <usize>i * outStride, outStride, rows, width, outputs);
      let t0 = f32x4.splat(0); // Σ dy·y of each query
      let t1 = t0;
      for (let j = 0; j < width; j++) {
        const at = <usize>j * 32;
        t0 = fma(v128.load(upstream + at), v128.load(outputs + at), t0);
        t1 = fma(v128.load(upstream + at, 16), v128.load(outputs + at, 16), t1);
      }
      scoreBlock(keys, queries, n, width, chances);
      scoreBlock(values, upstream, n, width, slopes);
      const l0 = v128.load(logSumExp + bytes(i));
      const l1 = v128.load(logSumExp + bytes(i + 4));
      for (let j = 0; j < n; j++) {
        const at = <usize>j * 32;
        const p = chances + at;
        const g = slopes + at;
        const p0 = expNegated4(f32x4.sub(l0, f32x4.mul(v128.load(p), scale)));
        const p1 = expNegated4(f32x4.sub(l1, f32x4.mul(v128.load(p, 16), scale)));
        v128.store(p, p0);
        v128.store(p, p1, 16);
        v128.store(g, f32x4.mul(f32x4.mul(p0, scale), f32x4.sub(v128.load(g), t0)));
        v128.store(g, f32x4.mul(f32x4.mul(p1, scale), f32x4.sub(v128.load(g, 16), t1)), 16);
      }
      multiplyBlock(slopes, n, k, stride, dq + <usize>i * stride, stride, rows, width);
      turn(chances, n, keptChances + bytes((i - block) * padded), bytes(padded));
      turn(slopes, n, keptSlopes + bytes((i - block) * padded), bytes(padded));
    }
    const start = block == 0 ? ZERO : ACCUMULATE;
    const from = q + <usize>block * stride;
    const given = dy + <usize>block * outStride;
    sumKeys(keptChances, bytes(padded), given, outStride, n, width, depth, dv, stride, start);
    sumKeys(keptSlopes, bytes(padded), from, stride, n, width, depth, dk, stride, start);
  }
}

/** out [N, width] (+)= keptᵀ · matrix over `depth` queries. */
function sumKeys(
  kept: usize,
  keptStride: usize,
  matrix: usize,
  stride: usize,
  n: i32,
  width: i32,
  depth: i32,
  out: usize,
  outStride: usize,
  start: i32,
): void {
  for (let j = 0; j < width; j += 8) {
    let to = out + bytes(j);
    for (let i = 0; i < n; i += 4) {
      const a = kept + bytes(i);
      const b = matrix + bytes(j);
      tile(a, keptStride, b, stride, depth, to, outStride, start, 0, n - i, width - j);
      to += 4 * outStride;
    }
  }
}

/** A block [n][8] turned into eight rows, `stride` bytes apart. */
function turn(block: usize, n: i32, to: usize, stride: usize): void {
  for (let half = 0; half < 2; half++) {
    for (let i = 0; i < n; i += 4) {
      const from = block + 32 * i + 16 * half;
      const r0 = v128.load(from);
      const r1 = v128.load(from, 32);
      const r2 = v128.load(from, 64);
      const r3 = v128.load(from, 96);
      const t0 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
      const t1 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
      const t2 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
      const t3 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
      const out = to + (<usize>(4 * half)) * stride + bytes(i);
      v128.store(out, v128.shuffle<f64>(t0, t2, 0, 2));
      v128.store(out + stride, v128.shuffle<f64>(t0, t2, 1, 3));
      v128.store(out + 2 * stride, v128.shuffle<f64>(t1, t3, 0, 2));
      v128.store(out + 3 * stride, v128.shuffle<f64>(t1, t3, 1, 3));
    }
  }
}
