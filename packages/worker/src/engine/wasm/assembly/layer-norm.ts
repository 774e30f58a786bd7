/** Layer norm over the last axis of [R, C] and its gradient. */

import { address, bytes, int } from "./command";
import { first, fma, lanes, put } from "./vector";

const EPSILON: f32 = 1e-5;

/** Arguments: x, gamma, beta, y, mean [R], rstd [R], R, C, rows of a task. */
export function layerNorm(command: usize, task: i32): void {
  const gamma = address(command, 1);
  const beta = address(command, 2);
  const c = int(command, 7);
  const block = int(command, 8);
  const end = min(int(command, 6), (task + 1) * block);
  const share: f32 = <f32>(1.0 / <f64>c);
  for (let r = task * block; r < end; r++) {
    const x = address(command, 0) + bytes(r * c);
    const y = address(command, 3) + bytes(r * c);
    let sum = f32x4.splat(0);
    for (let i = 0; i < c; i += 4) sum = f32x4.add(sum, first(v128.load(x + bytes(i)), c - i));
    const mean = lanes(sum) * share;
    const middle = f32x4.splat(mean);
    sum = f32x4.splat(0);
    for (let i = 0; i < c; i += 4) {
      const d = first(f32x4.sub(v128.load(x + bytes(i)), middle), c - i);
      sum = fma(d, d, sum);
    }
    const rstd: f32 = 1 / sqrt<f32>(lanes(sum) * share + EPSILON);
    const scale = f32x4.splat(rstd);
    for (let i = 0; i < c; i += 4) {
      const at = bytes(i);
      const normal = f32x4.mul(f32x4.sub(v128.load(x + at), middle), scale);
      put(y + at, fma(normal, v128.load(gamma + at), v128.load(beta + at)), c - i);
    }
    f32.store(address(command, 4) + bytes(r), mean);
    f32.store(address(command, 5) + bytes(r), rstd);
  }
}

/**
 * dx, and per task the sums of gamma and beta.
 * Arguments: x, gamma, mean, rstd, dy, dx, gamma's parts [task][C], beta's parts, R, C, rows of a
 * task.
 */
export function layerNormGrad(command: usize, task: i32): void {
  const gamma = address(command, 1);
  const c = int(command, 9);
  const block = int(command, 10);
  const end = min(int(command, 8), (task + 1) * block);
  const gammaPart = address(command, 6) + bytes(task * c);
  const betaPart = address(command, 7) + bytes(task * c);
  const share: f32 = <f32>(1.0 / <f64>c);
  for (let r = task * block; r < end; r++) {
    const initial = r == task * block;
    const x = address(command, 0) + bytes(r * c);
    const dy = address(command, 4) + bytes(r * c);
    const dx = address(command, 5) + bytes(r * c);
    const mean = v128.load32_splat(address(command, 2) + bytes(r));
    const rstd = v128.load32_splat(address(command, 3) + bytes(r));
    let sum = f32x4.splat(0);
    let product = sum;
    for (let i = 0; i < c; i += 4) {
      const at = bytes(i);
      const d = v128.load(dy + at);
      const normal = f32x4.mul(f32x4.sub(v128.load(x + at), mean), rstd);
      const g = first(f32x4.mul(d, v128.load(gamma + at)), c - i);
      sum = f32x4.add(sum, g);
      product = fma(g, first(normal, c - i), product);
      const weighted = f32x4.mul(d, normal);
      const more = c - i;
      put(
        gammaPart + at,
        initial ? weighted : f32x4.add(v128.load(gammaPart + at), weighted),
        more,
      );
      put(betaPart + at, initial ? d : f32x4.add(v128.load(betaPart + at), d), more);
    }
    const shift = f32x4.splat(lanes(sum) * share);
    const slope = f32x4.splat(lanes(product) * share);
    for (let i = 0; i < c; i += 4) {
      const at = bytes(i);
      const normal = f32x4.mul(f32x4.sub(v128.load(x + at), mean), rstd);
      const g = f32x4.mul(v128.load(dy + at), v128.load(gamma + at));
      const rest = fma(normal, slope, shift);
      put(dx + at, f32x4.mul(f32x4.sub(g, rest), rstd), c - i);
    }
  }
}
