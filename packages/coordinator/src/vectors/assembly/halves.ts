/** Half precision with a power of two as scale: the halves, and the values that they say. */

import { array } from "./layout";

/**
 * Rounds array 0 to nearest even, and leaves the halves of values / scale in array 1 as u16. The scale
 * comes as two factors, since it may be beyond float32; what the first makes of a value is exact
 * wherever anything is left of it.
 */
export function halves(values: i32, scale1: f32, scale2: f32): void {
  const factor1 = f32x4.splat(scale1);
  const factor2 = f32x4.splat(scale2);
  const inverse1 = f32x4.splat(1 / scale1);
  const inverse2 = f32x4.splat(1 / scale2);
  for (let i: usize = 0; i < <usize>values; i += 4) {
    const at = array(0) + (i << 2);
    const half = halfOf(f32x4.mul(f32x4.mul(v128.load(at), inverse1), inverse2));
    v128.store64_lane(array(1) + (i << 1), i16x8.narrow_i32x4_u(half, half), 0);
    v128.store(at, f32x4.mul(f32x4.mul(valueOf(half), factor1), factor2));
  }
}

/** Four halves as whole numbers. */
@inline
function halfOf(value: v128): v128 {
  const sign = v128.and(i32x4.shr_u(value, 16), i32x4.splat(0x8000));
  const magnitude = v128.and(value, i32x4.splat(0x7fffffff));
  // Normal: rebias the exponent, then round the 13 dropped bits to nearest even.
  const rebiased = i32x4.sub(magnitude, i32x4.splat(0x38000000));
  const odd = v128.and(i32x4.shr_u(rebiased, 13), i32x4.splat(1));
  const normal = i32x4.shr_u(i32x4.add(i32x4.add(rebiased, i32x4.splat(0xfff)), odd), 13);
  // Subnormal: adding 0.5 aligns the wanted bits with the end of a float32's mantissa.
  const aligned = f32x4.add(magnitude, f32x4.splat(0.5));
  const subnormal = i32x4.sub(aligned, i32x4.splat(0x3f000000));
  const finite = v128.bitselect(
    normal,
    subnormal,
    i32x4.ge_s(magnitude, i32x4.splat(0x38800000)),
  );
  const isNan = i32x4.gt_s(magnitude, i32x4.splat(0x7f800000));
  const large = v128.bitselect(i32x4.splat(0x7e00), i32x4.splat(0x7c00), isNan);
  const isLarge = i32x4.ge_s(magnitude, i32x4.splat(0x477ff000));
  return v128.or(sign, v128.bitselect(large, finite, isLarge));
}

/** What four halves say. */
@inline
function valueOf(half: v128): v128 {
  const sign = i32x4.shl(v128.and(half, i32x4.splat(0x8000)), 16);
  const magnitude = v128.and(half, i32x4.splat(0x7fff));
  const normal = i32x4.add(i32x4.shl(magnitude, 13), i32x4.splat(0x38000000));
  const subnormal = f32x4.mul(f32x4.convert_i32x4_s(magnitude), f32x4.splat(5.9604644775390625e-8));
  const finite = v128.bitselect(normal, subnormal, i32x4.ge_s(magnitude, i32x4.splat(0x400)));
  const special = v128.or(i32x4.shl(magnitude, 13), i32x4.splat(0x7f800000));
  return v128.or(
    sign,
    v128.bitselect(special, finite, i32x4.ge_s(magnitude, i32x4.splat(0x7c00))),
  );
}
