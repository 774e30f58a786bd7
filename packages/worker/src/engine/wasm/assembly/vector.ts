/** Four floats at a time: what every kernel is written in. */

/** x·y + z: two roundings in portable SIMD; one, where the build allows relaxed SIMD. */
@inline
export function fma(x: v128, y: v128, z: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(x, y, z);
  return f32x4.add(z, f32x4.mul(x, y));
}

/**
 * Stores the first `count` lanes (all four if more, none if not positive): kernels may read past
 * an end, never write. Without a call, which would make V8 spill every vector of a loop around it.
 */
@inline
export function put(address: usize, v: v128, count: i32): void {
  if (count >= 4) v128.store(address, v);
  else if (count == 1) v128.store32_lane(address, v, 0);
  else if (count > 1) {
    v128.store64_lane(address, v, 0);
    if (count == 3) v128.store32_lane(address, v, 2, 8);
  }
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

/** Four of each constant of `expNegated4`: V8 loads a vector faster than it builds one from bits. */
const EXP = memory.data<f32>(
  [
    87, 87, 87, 87, // bounds of x
    -87, -87, -87, -87,
    -1.44269504088896341, -1.44269504088896341, -1.44269504088896341, -1.44269504088896341, // -1/ln 2
    12582912, 12582912, 12582912, 12582912, // 1.5·2²³
    0.693359375, 0.693359375, 0.693359375, 0.693359375, // ln 2 in two parts
    -2.12194440e-4, -2.12194440e-4, -2.12194440e-4, -2.12194440e-4,
    1.9875691500e-4, 1.9875691500e-4, 1.9875691500e-4, 1.9875691500e-4, // the polynomial
    1.3981999507e-3, 1.3981999507e-3, 1.3981999507e-3, 1.3981999507e-3,
    8.3334519073e-3, 8.3334519073e-3, 8.3334519073e-3, 8.3334519073e-3,
    4.1665795894e-2, 4.1665795894e-2, 4.1665795894e-2, 4.1665795894e-2,
    1.6666665459e-1, 1.6666665459e-1, 1.6666665459e-1, 1.6666665459e-1,
    5.0000001201e-1, 5.0000001201e-1, 5.0000001201e-1, 5.0000001201e-1,
    1, 1, 1, 1,
  ],
  16,
);

/**
 * e^-x to 2e-7 relative; x is held within ±87, so no denormal comes out (they are 4.5x slower). How
 * far one operation waits for another decides its speed, so the polynomial is summed in pairs.
 */
@inline
export function expNegated4(x: v128): v128 {
  x = f32x4.pmax(f32x4.pmin(x, v128.load(EXP)), v128.load(EXP, 16));
  // -x/ln 2 rounded to a whole number n, which then stands in the last bits of `shifted`
  const magic = v128.load(EXP, 48);
  const shifted = fma(x, v128.load(EXP, 32), magic);
  const n = f32x4.sub(shifted, magic);
  // x + n·ln 2; the first product is exact
  x = fma(n, v128.load(EXP, 80), fma(n, v128.load(EXP, 64), x));
  const squared = f32x4.mul(x, x);
  const high = f32x4.sub(v128.load(EXP, 112), f32x4.mul(x, v128.load(EXP, 96)));
  const middle = f32x4.sub(v128.load(EXP, 144), f32x4.mul(x, v128.load(EXP, 128)));
  const low = f32x4.sub(v128.load(EXP, 176), f32x4.mul(x, v128.load(EXP, 160)));
  const linear = f32x4.sub(v128.load(EXP, 192), x);
  const e = fma(fma(fma(high, squared, middle), squared, low), squared, linear);
  // e·2^n by adding n to the exponent: e is about 1 and n within ±126, so it stays in range
  return i32x4.add(e, i32x4.shl(shifted, 23));
}

/** x / (1 + e^-x). */
@inline
export function silu4(x: v128): v128 {
  return f32x4.div(x, f32x4.add(v128.load(EXP, 192), expNegated4(x)));
}

/** Derivative of y = silu(x): the sigmoid is y/x, so no exponential is needed again. */
@inline
export function siluSlope4(x: v128, y: v128): v128 {
  const one = v128.load(EXP, 192);
  const sigmoid = v128.bitselect(
    f32x4.div(y, x),
    f32x4.splat(0.5),
    f32x4.ne(x, f32x4.splat(0)),
  );
  return fma(y, f32x4.sub(one, sigmoid), sigmoid);
}
