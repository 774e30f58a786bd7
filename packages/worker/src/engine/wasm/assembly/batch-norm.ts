/**
 * Batch norm over the rows of [R, C], fused with its activation. Sums are taken over fixed chunks
 * of rows, so the bits do not depend on who computes which chunk.
 */

import { address, bytes, int } from "./command";
import { fma, put, silu4, siluSlope4 } from "./vector";

const EPSILON = 1e-5;
/** Floats of a band: channels pass over it one group after the other while it stays in cache. */
const BAND = 2048;
/** Rows of a sum that is not of sums. */
const RUN = 16;

export const NONE = 0;
export const SILU = 1;
export const RELU = 2;

@inline
function activate(z: v128, act: i32): v128 {
  if (act == SILU) return silu4(z);
  if (act == RELU) return f32x4.pmax(z, f32x4.splat(0));
  return z;
}

/**
 * Per chunk, a shift s near its mean, and sums of x - s and (x - s)²: one pass. Where a few numbers are
 * normalised later, what a variance is off by here grows a thousandfold, so it must stay near rounding:
 * s is the mean of four rows far apart and none the first, which is often an image's corner and far
 * out, so that squares around it would cancel; and a sum is of short sums, each of RUN rows.
 * Arguments: x, parts [chunk][3][C], R, C, rows of a chunk.
 */
export function batchNormSums(command: usize, task: i32): void {
  const c = int(command, 3);
  const chunk = int(command, 4);
  const row = task * chunk;
  const rows = min(chunk, int(command, 2) - row);
  const x = address(command, 0) + bytes(row * c);
  const parts = address(command, 1) + bytes(task * 3 * c);
  const pixel = bytes(c);
  const eighth = bytes((rows >> 3) * c);
  for (let i = 0; i < c; i += 8) {
    let p = x + bytes(i);
    const t0 = mean4(p + eighth, eighth << 1);
    const t1 = mean4(p + eighth + 16, eighth << 1);
    let sums0 = f32x4.splat(0);
    let sums1 = sums0;
    let squares0 = sums0;
    let squares1 = sums0;
    for (let start = 0; start < rows; start += RUN) {
      let s0 = f32x4.splat(0);
      let s1 = s0;
      let q0 = s0;
      let q1 = s0;
      for (let left = min(RUN, rows - start); left > 0; left--) {
        const d0 = f32x4.sub(v128.load(p), t0);
        const d1 = f32x4.sub(v128.load(p, 16), t1);
        s0 = f32x4.add(s0, d0);
        s1 = f32x4.add(s1, d1);
        q0 = fma(d0, d0, q0);
        q1 = fma(d1, d1, q1);
        p += pixel;
      }
      sums0 = f32x4.add(sums0, s0);
      sums1 = f32x4.add(sums1, s1);
      squares0 = f32x4.add(squares0, q0);
      squares1 = f32x4.add(squares1, q1);
    }
    const out = parts + bytes(i);
    put(out, t0, c - i);
    put(out + 16, t1, c - i - 4);
    put(out + pixel, sums0, c - i);
    put(out + pixel + 16, sums1, c - i - 4);
    put(out + 2 * pixel, squares0, c - i);
    put(out + 2 * pixel + 16, squares1, c - i - 4);
  }
}

/** Mean of four vectors from p on, so many bytes apart. */
@inline
function mean4(p: usize, apart: usize): v128 {
  const early = f32x4.add(v128.load(p), v128.load(p + apart));
  const late = f32x4.add(v128.load(p + apart * 2), v128.load(p + apart * 3));
  return f32x4.mul(f32x4.add(early, late), f32x4.splat(0.25));
}

/**
 * Mean, unbiased variance and 1/sqrt(biased variance + ε), chunks merged in order in float64.
 * Arguments: parts, R, C, rows of a chunk, chunks, mean, variance, rstd; a task is 16 channels.
 */
export function batchNormFinish(command: usize, task: i32): void {
  const parts = address(command, 0);
  const rows = int(command, 1);
  const c = int(command, 2);
  const chunk = int(command, 3);
  const chunks = int(command, 4);
  const end = min(c, (task + 1) * 16);
  for (let i = task * 16; i < end; i++) {
    let n: f64 = 0;
    let mean: f64 = 0;
    let squares: f64 = 0;
    for (let k = 0; k < chunks; k++) {
      const m = <f64>min(chunk, rows - k * chunk);
      const part = parts + bytes(k * 3 * c + i);
      const shift = <f64>f32.load(part);
      const sum = <f64>f32.load(part + bytes(c));
      const spread = <f64>f32.load(part + bytes(2 * c)) - (sum * sum) / m;
      const away = shift + sum / m - mean;
      squares += spread + (away * away * n * m) / (n + m);
      n += m;
      mean += (away * m) / n;
    }
    squares = max(squares, 0);
    const at = bytes(i);
    f32.store(address(command, 5) + at, <f32>mean);
    f32.store(address(command, 6) + at, <f32>(squares / (n - 1)));
    f32.store(address(command, 7) + at, <f32>(1 / Math.sqrt(squares / n + EPSILON)));
  }
}

/** rstd of running statistics. Arguments: variance, rstd, C; one task. */
export function batchNormRunning(command: usize): void {
  const c = int(command, 2);
  for (let i = 0; i < c; i++) {
    const variance = <f64>f32.load(address(command, 0) + bytes(i));
    f32.store(address(command, 1) + bytes(i), <f32>(1 / Math.sqrt(variance + EPSILON)));
  }
}

/**
 * y = act(gamma·rstd·(x - mean) + beta).
 * Arguments: x, gamma, beta, mean, rstd, y, R, C, rows of a task, act.
 */
export function batchNormApply(command: usize, task: i32): void {
  const act = int(command, 9);
  if (act == SILU) applyRows(command, task, SILU);
  else if (act == RELU) applyRows(command, task, RELU);
  else applyRows(command, task, NONE);
}

@inline
function applyRows(command: usize, task: i32, act: i32): void {
  const gamma = address(command, 1);
  const beta = address(command, 2);
  const mean = address(command, 3);
  const rstd = address(command, 4);
  const c = int(command, 7);
  const block = int(command, 8);
  const row = task * block;
  const rows = min(block, int(command, 6) - row);
  let x = address(command, 0) + bytes(row * c);
  let y = address(command, 5) + bytes(row * c);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < c; i += 4) {
      const at = bytes(i);
      const scale = f32x4.mul(v128.load(gamma + at), v128.load(rstd + at));
      const centred = f32x4.sub(v128.load(x + at), v128.load(mean + at));
      put(y + at, activate(fma(centred, scale, v128.load(beta + at)), act), c - i);
    }
    x += bytes(c);
    y += bytes(c);
  }
}

/**
 * dz = dy·act'(z), stored, and per chunk Σ dz and Σ dz·x̂ (of beta and gamma).
 * Arguments: x, gamma, beta, mean, rstd, dy, dz, beta's parts [chunk][C], gamma's parts, R, C,
 * rows of a chunk, act, y = act(z) (of SiLU only). Without an activation dz is dy and nothing is
 * stored.
 */
export function batchNormGradSums(command: usize, task: i32): void {
  const act = int(command, 12);
  if (act == SILU) gradSums(command, task, SILU);
  else if (act == RELU) gradSums(command, task, RELU);
  else gradSums(command, task, NONE);
}

@inline
function gradSums(command: usize, task: i32, act: i32): void {
  const c = int(command, 10);
  const chunk = int(command, 11);
  const row = task * chunk;
  const rows = min(chunk, int(command, 9) - row);
  const band = max(1, BAND / c);
  const pixel = bytes(c);
  const betaPart = address(command, 7) + bytes(task * c);
  const gammaPart = address(command, 8) + bytes(task * c);
  for (let start = 0; start < rows; start += band) {
    const count = min(band, rows - start);
    const offset = bytes((row + start) * c);
    for (let i = 0; i < c; i += 4) {
      const at = bytes(i);
      const beta = v128.load(address(command, 2) + at);
      const mean = v128.load(address(command, 3) + at);
      const rstd = v128.load(address(command, 4) + at);
      const scale = f32x4.mul(v128.load(address(command, 1) + at), rstd);
      let x = address(command, 0) + offset + at;
      let dy = address(command, 5) + offset + at;
      let dz = address(command, 6) + offset + at;
      let y = address(command, 13) + offset + at;
      let sum = f32x4.splat(0);
      let product = sum;
      for (let r = 0; r < count; r++) {
        const centred = f32x4.sub(v128.load(x), mean);
        let d = v128.load(dy);
        if (act != NONE) {
          const z = fma(centred, scale, beta);
          d =
            act == SILU
              ? f32x4.mul(d, siluSlope4(z, v128.load(y)))
              : v128.and(d, f32x4.gt(z, f32x4.splat(0)));
          put(dz, d, c - i);
        }
        sum = f32x4.add(sum, d);
        product = fma(d, centred, product);
        x += pixel;
        dy += pixel;
        dz += pixel;
        if (act == SILU) y += pixel;
      }
      product = f32x4.mul(product, rstd);
      if (start) {
        sum = f32x4.add(v128.load(betaPart + at), sum);
        product = f32x4.add(v128.load(gammaPart + at), product);
      }
      put(betaPart + at, sum, c - i);
      put(gammaPart + at, product, c - i);
    }
  }
}

/**
 * dx = gamma·rstd·(dz - dbeta/R - x̂·dgamma/R).
 * Arguments: x, gamma, mean, rstd, dz, dbeta, dgamma, dx, R, C, rows of a task.
 */
export function batchNormGradApply(command: usize, task: i32): void {
  const all = int(command, 8);
  const c = int(command, 9);
  const block = int(command, 10);
  const row = task * block;
  const rows = min(block, all - row);
  const band = max(1, BAND / c);
  const pixel = bytes(c);
  const share = f32x4.splat(<f32>(1.0 / <f64>all));
  for (let start = 0; start < rows; start += band) {
    const count = min(band, rows - start);
    const offset = bytes((row + start) * c);
    for (let i = 0; i < c; i += 4) {
      const at = bytes(i);
      const mean = v128.load(address(command, 2) + at);
      const rstd = v128.load(address(command, 3) + at);
      const scale = f32x4.mul(v128.load(address(command, 1) + at), rstd);
      const shift = f32x4.mul(v128.load(address(command, 5) + at), share);
      const slope = f32x4.mul(f32x4.mul(v128.load(address(command, 6) + at), share), rstd);
      let x = address(command, 0) + offset + at;
      let dz = address(command, 4) + offset + at;
      let dx = address(command, 7) + offset + at;
      for (let r = 0; r < count; r++) {
        const centred = f32x4.sub(v128.load(x), mean);
        const rest = fma(centred, slope, shift);
        put(dx, f32x4.mul(f32x4.sub(v128.load(dz), rest), scale), c - i);
        x += pixel;
        dz += pixel;
        dx += pixel;
      }
    }
  }
}
