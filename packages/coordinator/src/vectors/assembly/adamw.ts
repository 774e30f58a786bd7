/** One AdamW step: arithmetic in float64, one rounding a stored value. */

import { array } from "./layout";

/** Arrays 0 to 3: weights, first and second moment, gradient; the first three change. */
export function adamw(
  values: i32,
  keep: f64,
  rate: f64,
  root2: f64,
  beta1: f64,
  beta2: f64,
  epsilon: f64,
): void {
  const newest1 = f64x2.splat(1 - beta1);
  const newest2 = f64x2.splat(1 - beta2);
  for (let i: usize = 0; i < <usize>values << 2; i += 8) {
    const g = f64x2.promote_low_f32x4(v128.load64_zero(array(3) + i));
    const m = f64x2.promote_low_f32x4(v128.load64_zero(array(1) + i));
    const v = f64x2.promote_low_f32x4(v128.load64_zero(array(2) + i));
    const w = f64x2.promote_low_f32x4(v128.load64_zero(array(0) + i));
    const first = f32x4.demote_f64x2_zero(
      f64x2.add(f64x2.mul(f64x2.splat(beta1), m), f64x2.mul(newest1, g)),
    );
    const second = f32x4.demote_f64x2_zero(
      f64x2.add(f64x2.mul(f64x2.splat(beta2), v), f64x2.mul(f64x2.mul(newest2, g), g)),
    );
    v128.store64_lane(array(1) + i, first, 0);
    v128.store64_lane(array(2) + i, second, 0);
    const root = f64x2.div(f64x2.sqrt(f64x2.promote_low_f32x4(second)), f64x2.splat(root2));
    const change = f64x2.div(
      f64x2.mul(f64x2.splat(rate), f64x2.promote_low_f32x4(first)),
      f64x2.add(root, f64x2.splat(epsilon)),
    );
    const next = f64x2.sub(f64x2.mul(w, f64x2.splat(keep)), change);
    v128.store64_lane(array(0) + i, f32x4.demote_f64x2_zero(next), 0);
  }
}
