/** Operations on flat vectors; a task is a block of `BLOCK` elements. */

import { address, bytes, float, int } from "./command";
import { put, silu4, siluSlope4 } from "./vector";

export const BLOCK = 16384;

/** Arguments: x, y, length. */
export function silu(command: usize, task: i32): void {
  const end = min(int(command, 2), (task + 1) * BLOCK);
  for (let i = task * BLOCK; i < end; i += 4) {
    const x = v128.load(address(command, 0) + bytes(i));
    put(address(command, 1) + bytes(i), silu4(x), end - i);
  }
}

/** Arguments: x, y, dy, dx, length. */
export function siluGrad(command: usize, task: i32): void {
  const end = min(int(command, 4), (task + 1) * BLOCK);
  for (let i = task * BLOCK; i < end; i += 4) {
    const x = v128.load(address(command, 0) + bytes(i));
    const slope = siluSlope4(x, v128.load(address(command, 1) + bytes(i)));
    const dx = f32x4.mul(v128.load(address(command, 2) + bytes(i)), slope);
    put(address(command, 3) + bytes(i), dx, end - i);
  }
}

/** Arguments: a, b, y, length. */
export function add(command: usize, task: i32): void {
  const end = min(int(command, 3), (task + 1) * BLOCK);
  for (let i = task * BLOCK; i < end; i += 4) {
    const a = v128.load(address(command, 0) + bytes(i));
    const b = v128.load(address(command, 1) + bytes(i));
    put(address(command, 2) + bytes(i), f32x4.add(a, b), end - i);
  }
}

/**
 * y = residual + mask·x/(1-p), the mask by the hash of SPEC section 9 on (seed, flat index).
 * Arguments: x, residual or 0, y, length, seed, threshold of 24 bits, 1/(1-p).
 */
export function dropout(command: usize, task: i32): void {
  const residual = address(command, 1);
  const seed = i32x4.splat(int(command, 4));
  const threshold = i32x4.splat(int(command, 5));
  const scale = f32x4.splat(float(command, 6));
  const start = task * BLOCK;
  const end = min(int(command, 3), start + BLOCK);
  let index = i32x4.add(i32x4.splat(start), i32x4(0, 1, 2, 3));
  for (let i = start; i < end; i += 4) {
    const at = bytes(i);
    let x = i32x4.add(i32x4.mul(index, i32x4.splat(0x9e3779b9)), seed);
    x = v128.xor(x, i32x4.shr_u(x, 16));
    x = i32x4.mul(x, i32x4.splat(0x7feb352d));
    x = v128.xor(x, i32x4.shr_u(x, 15));
    x = i32x4.mul(x, i32x4.splat(0x846ca68b));
    x = v128.xor(x, i32x4.shr_u(x, 16));
    const kept = i32x4.ge_s(i32x4.shr_u(x, 8), threshold);
    const value = v128.and(f32x4.mul(v128.load(address(command, 0) + at), scale), kept);
    const y = residual ? f32x4.add(v128.load(residual + at), value) : value;
    put(address(command, 2) + at, y, end - i);
    index = i32x4.add(index, i32x4.splat(4));
  }
}
