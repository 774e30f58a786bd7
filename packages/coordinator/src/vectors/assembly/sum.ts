/** Sums of encoded gradients along the tree, decoded on the way: one rounding a product and a sum. */

import { array, BLOCK, codes, FRAME_BYTES, scales } from "./layout";

/** Sums frames 0 to count-1 into array 0, each half's sum before the whole's. `count` is 1, 2, 4 or 8. */
export function sum(count: i32, values: i32): void {
  for (let first = 0; first < values; first += BLOCK) {
    const end = min(values, first + BLOCK);
    const scale = scales(0) + <usize>((first / BLOCK) << 2);
    const code = codes(0);
    if (count == 8) for (let i = first; i < end; i += 4) put(i, sum8(code + i, scale));
    else if (count == 4) for (let i = first; i < end; i += 4) put(i, sum4(code + i, scale));
    else if (count == 2) for (let i = first; i < end; i += 4) put(i, sum2(code + i, scale));
    else for (let i = first; i < end; i += 4) put(i, value(code + i, scale));
  }
}

@inline
function put(i: i32, values: v128): void {
  v128.store(array(0) + (<usize>i << 2), values);
}

@inline
function value(code: usize, scale: usize): v128 {
  const halves = i16x8.extend_low_i8x16_s(v128.load32_zero(code));
  const values = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(halves));
  return f32x4.mul(values, v128.load32_splat(scale));
}

@inline
function sum2(code: usize, scale: usize): v128 {
  return f32x4.add(value(code, scale), value(code + FRAME_BYTES, scale + FRAME_BYTES));
}

@inline
function sum4(code: usize, scale: usize): v128 {
  return f32x4.add(sum2(code, scale), sum2(code + 2 * FRAME_BYTES, scale + 2 * FRAME_BYTES));
}

@inline
function sum8(code: usize, scale: usize): v128 {
  return f32x4.add(sum4(code, scale), sum4(code + 4 * FRAME_BYTES, scale + 4 * FRAME_BYTES));
}
