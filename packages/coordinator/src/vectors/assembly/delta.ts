/** The step from the published weights to the optimizer's, encoded as `int8` and taken. */

import { array, BLOCK, codes, scales } from "./layout";

const LARGEST_CODE: f64 = 127;
/** 127 · 2^-126: below it a scale would be subnormal. */
const SMALLEST_BLOCK: f32 = 127 * f32.MIN_NORMAL_VALUE;
/** Adding and taking away this float64 rounds to the nearest whole number, ties to even. */
const ROUNDER: f64 = 6755399441055744;

/**
 * Encodes array 0 minus array 1 as frame 0 and adds what that says to array 1, so that it is what
 * everyone has who decodes it. Array 2 is overwritten; padding after the last value must be zero.
 */
export function delta(values: i32): void {
  for (let first = 0; first < values; first += BLOCK) {
    const end = min(values, first + BLOCK);
    const scale = scaleOf(first, end);
    store<f32>(scales(0) + <usize>((first / BLOCK) << 2), scale);
    const divisor = f64x2.splat(<f64>scale);
    const factor = f32x4.splat(scale);
    for (let i = <usize>first; i < <usize>end; i += 4) {
      const at = i << 2;
      const difference = v128.load(array(2) + at);
      const code = scale > 0 ? i32x4.add(low(difference, divisor), high(difference, divisor)) : i32x4.splat(0);
      const narrow = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(code, code), i16x8.splat(0));
      v128.store32_lane(codes(0) + i, narrow, 0);
      const step = f32x4.mul(f32x4.convert_i32x4_s(code), factor);
      v128.store(array(1) + at, f32x4.add(v128.load(array(1) + at), step));
    }
  }
}

/** The scale of a block, whose differences are left in array 2. */
@inline
function scaleOf(first: i32, end: i32): f32 {
  let most = i32x4.splat(0);
  for (let at = <usize>first << 2; at < <usize>end << 2; at += 16) {
    const difference = f32x4.sub(v128.load(array(0) + at), v128.load(array(1) + at));
    v128.store(array(2) + at, difference);
    // Magnitudes are ordered as their bits are, NaN above infinity.
    most = i32x4.max_s(most, v128.and(difference, i32x4.splat(0x7fffffff)));
  }
  const bits = max(
    max(i32x4.extract_lane(most, 0), i32x4.extract_lane(most, 1)),
    max(i32x4.extract_lane(most, 2), i32x4.extract_lane(most, 3)),
  );
  if (bits >= 0x7f800000) return <f32>NaN;
  const largest = reinterpret<f32>(bits);
  return largest < SMALLEST_BLOCK ? 0 : <f32>(<f64>largest / LARGEST_CODE);
}

@inline
function low(difference: v128, scale: v128): v128 {
  return rounded(f64x2.div(f64x2.promote_low_f32x4(difference), scale));
}

@inline
function high(difference: v128, scale: v128): v128 {
  const upper = v128.shuffle<i32>(difference, difference, 2, 3, 0, 1);
  const codes = rounded(f64x2.div(f64x2.promote_low_f32x4(upper), scale));
  return v128.shuffle<i32>(codes, codes, 2, 3, 0, 1);
}

/** Two quotients as whole numbers in the lower lanes, zeros above. */
@inline
function rounded(quotients: v128): v128 {
  const even = f64x2.sub(f64x2.add(quotients, f64x2.splat(ROUNDER)), f64x2.splat(ROUNDER));
  return i32x4.trunc_sat_f64x2_s_zero(even);
}
