/** Four floats at a time: what every kernel is written in. */

/** x·y + z: two roundings in portable SIMD; one, where the build allows relaxed SIMD. */
@inline
export function fma(x: v128, y: v128, z: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(x, y, z);
  return f32x4.add(z, f32x4.mul(x, y));
}

/** Stores the first `count` lanes (all four if more): kernels may read past an end, never write. */
@inline
export function put(address: usize, v: v128, count: i32): void {
  if (count >= 4) v128.store(address, v);
  else putSome(address, v, count);
}

function putSome(address: usize, v: v128, count: i32): void {
  if (count > 0) f32.store(address, f32x4.extract_lane(v, 0));
  if (count > 1) f32.store(address + 4, f32x4.extract_lane(v, 1));
  if (count > 2) f32.store(address + 8, f32x4.extract_lane(v, 2));
}

/** Sum of the lanes, in a fixed order. */
@inline
export function lanes(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) +
    f32x4.extract_lane(v, 1) +
    (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

/** The first `count` lanes of v, zeros in the others. */
@inline
export function first(v: v128, count: i32): v128 {
  if (count >= 4) return v;
  return v128.and(v, i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(count)));
}

/** e^x to 1e-7 relative; x is held within ±87, so no denormal comes out (they are 4.5x slower). */
@inline
export function exp4(x: v128): v128 {
  x = f32x4.pmax(f32x4.pmin(x, f32x4.splat(87)), f32x4.splat(-87));
  const n = f32x4.nearest(f32x4.mul(x, f32x4.splat(1.44269504088896341)));
  // x - n·ln 2 in two parts, so that the first product is exact
  let r = fma(n, f32x4.splat(-0.693359375), x);
  r = fma(n, f32x4.splat(2.12194440e-4), r);
  let p = fma(r, f32x4.splat(1.9875691500e-4), f32x4.splat(1.3981999507e-3));
  p = fma(p, r, f32x4.splat(8.3334519073e-3));
  p = fma(p, r, f32x4.splat(4.1665795894e-2));
  p = fma(p, r, f32x4.splat(1.6666665459e-1));
  p = fma(p, r, f32x4.splat(5.0000001201e-1));
  const e = fma(p, f32x4.mul(r, r), f32x4.add(r, f32x4.splat(1)));
  const power = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23);
  return f32x4.mul(e, power);
}

/** 1 / (1 + e^-x). */
@inline
export function sigmoid4(x: v128): v128 {
  const one = f32x4.splat(1);
  return f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(x))));
}

/** Derivative of x·sigmoid(x). */
@inline
export function siluSlope4(x: v128): v128 {
  const one = f32x4.splat(1);
  const s = sigmoid4(x);
  return f32x4.mul(s, fma(x, f32x4.sub(one, s), one));
}
