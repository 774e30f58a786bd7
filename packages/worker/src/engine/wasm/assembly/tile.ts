/**
 * The one micro-kernel of all products: a 4x8 tile of C, and the packing that feeds it.
 *
 * Element (i, k) of the left factor is at `a + k·lda + 4·i`, row k of the right one at `b + k·ldb`.
 * Packed rows (groups of four: [k][4]) have lda = 16, packed panels ([k][8]) ldb = 32; where a
 * factor is used transposed its own rows already have that form.
 */

import { bytes } from "./command";
import { fma, put } from "./vector";

/** What a tile starts from. */
export const ZERO = 0;
export const BIAS = 1;
export const ACCUMULATE = 2;

/**
 * C[0..rows, 0..columns] (at most 4x8) = start + A·B over `depth`. Inline it into its loop nest: as
 * a call it loses a fifth of its speed.
 */
@inline
export function tile(
  a: usize,
  lda: usize,
  b: usize,
  ldb: usize,
  depth: i32,
  c: usize,
  ldc: usize,
  start: i32,
  bias: usize,
  rows: i32,
  columns: i32,
): void {
  let c00 = f32x4.splat(0);
  let c01 = c00;
  let c10 = c00;
  let c11 = c00;
  let c20 = c00;
  let c21 = c00;
  let c30 = c00;
  let c31 = c00;
  if (start == BIAS) {
    c00 = c10 = c20 = c30 = v128.load(bias);
    c01 = c11 = c21 = c31 = v128.load(bias, 16);
  } else if (start == ACCUMULATE) {
    let from = c;
    c00 = v128.load(from);
    c01 = v128.load(from, 16);
    if (rows > 1) from += ldc;
    c10 = v128.load(from);
    c11 = v128.load(from, 16);
    if (rows > 2) from += ldc;
    c20 = v128.load(from);
    c21 = v128.load(from, 16);
    if (rows > 3) from += ldc;
    c30 = v128.load(from);
    c31 = v128.load(from, 16);
  }
  for (let k = depth; k > 0; k--) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const a0 = v128.load32_splat(a);
    c00 = fma(a0, b0, c00);
    c01 = fma(a0, b1, c01);
    const a1 = v128.load32_splat(a, 4);
    c10 = fma(a1, b0, c10);
    c11 = fma(a1, b1, c11);
    const a2 = v128.load32_splat(a, 8);
    c20 = fma(a2, b0, c20);
    c21 = fma(a2, b1, c21);
    const a3 = v128.load32_splat(a, 12);
    c30 = fma(a3, b0, c30);
    c31 = fma(a3, b1, c31);
    a += lda;
    b += ldb;
  }
  if (columns >= 8) {
    v128.store(c, c00);
    v128.store(c, c01, 16);
    if (rows > 1) {
      c += ldc;
      v128.store(c, c10);
      v128.store(c, c11, 16);
    }
    if (rows > 2) {
      c += ldc;
      v128.store(c, c20);
      v128.store(c, c21, 16);
    }
    if (rows > 3) {
      c += ldc;
      v128.store(c, c30);
      v128.store(c, c31, 16);
    }
  } else {
    putEight(c, c00, c01, columns);
    if (rows > 1) putEight(c + ldc, c10, c11, columns);
    if (rows > 2) putEight(c + 2 * ldc, c20, c21, columns);
    if (rows > 3) putEight(c + 3 * ldc, c30, c31, columns);
  }
}

function putEight(to: usize, low: v128, high: v128, count: i32): void {
  put(to, low, count);
  put(to + 16, high, count - 4);
}

/** Interleaves four rows of k floats: [k][4], or one half of a panel if `step` is 32. */
@inline
export function interleave(
  p0: usize,
  p1: usize,
  p2: usize,
  p3: usize,
  k: i32,
  to: usize,
  step: usize,
): void {
  for (; k > 0; k -= 4) {
    const r0 = v128.load(p0);
    const r1 = v128.load(p1);
    const r2 = v128.load(p2);
    const r3 = v128.load(p3);
    const t0 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
    const t1 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
    const t2 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
    const t3 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
    v128.store(to, v128.shuffle<f64>(t0, t2, 0, 2));
    if (k > 1) v128.store(to + step, v128.shuffle<f64>(t0, t2, 1, 3));
    if (k > 2) v128.store(to + 2 * step, v128.shuffle<f64>(t1, t3, 0, 2));
    if (k > 3) v128.store(to + 3 * step, v128.shuffle<f64>(t1, t3, 1, 3));
    to += 4 * step;
    p0 += 16;
    p1 += 16;
    p2 += 16;
    p3 += 16;
  }
}

/** Packs `rows` rows of k floats, `stride` bytes apart, into groups of four; the last is repeated. */
export function packRows(from: usize, stride: usize, rows: i32, k: i32, to: usize): void {
  const group = bytes(4 * k);
  for (let r = 0; r < rows; r += 4) {
    const p1 = r + 1 < rows ? from + stride : from;
    const p2 = r + 2 < rows ? p1 + stride : p1;
    const p3 = r + 3 < rows ? p2 + stride : p2;
    interleave(from, p1, p2, p3, k, to, 16);
    from = p3 + stride;
    to += group;
  }
}

/** Packs up to eight rows of k floats as the columns of one panel [k][8]; the last is repeated. */
export function packPanel(from: usize, stride: usize, rows: i32, k: i32, to: usize): void {
  for (let half = 0; half < 2; half++) {
    const left = rows - 4 * half;
    const p1 = left > 1 ? from + stride : from;
    const p2 = left > 2 ? p1 + stride : p1;
    const p3 = left > 3 ? p2 + stride : p2;
    interleave(from, p1, p2, p3, k, to + 16 * half, 32);
    from = left > 4 ? p3 + stride : p3;
  }
}

/** Y[rows, columns] = packed rows · packed panels (+ bias): the loop nest of forward products. */
export function multiplyPacked(
  packed: usize,
  rows: i32,
  depth: i32,
  panels: usize,
  columns: i32,
  bias: usize,
  y: usize,
  ldy: usize,
): void {
  const start = bias ? BIAS : ZERO;
  const group = bytes(4 * depth);
  for (let j = 0; j < columns; j += 8) {
    let a = packed;
    let c = y + bytes(j);
    for (let r = 0; r < rows; r += 4) {
      tile(a, 16, panels, 32, depth, c, ldy, start, bias + bytes(j), rows - r, columns - j);
      a += group;
      c += 4 * ldy;
    }
    panels += bytes(8 * depth);
  }
}

/** C[I, J] (+)= Aᵀ·B for A [depth, I], B [depth, J] in rows: the loop nest of weight gradients. */
export function multiplyTransposed(
  a: usize,
  lda: usize,
  i: i32,
  b: usize,
  ldb: usize,
  j: i32,
  depth: i32,
  c: usize,
  ldc: usize,
  start: i32,
): void {
  for (let jj = 0; jj < j; jj += 8) {
    let to = c + bytes(jj);
    for (let ii = 0; ii < i; ii += 4) {
      tile(a + bytes(ii), lda, b + bytes(jj), ldb, depth, to, ldc, start, 0, i - ii, j - jj);
      to += 4 * ldc;
    }
  }
}
