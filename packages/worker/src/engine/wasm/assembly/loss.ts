/** Smoothed cross-entropy, summed over samples, and its counts. */

import { address, bytes, float, int } from "./command";
import { expNegated4, put } from "./vector";

/**
 * report = [Σ loss, top-1, top-5]; dlogits of the sum. A logit ranks above the label's if it is
 * larger, or equal with a lower class; a sample with a logit that is not finite counts as wrong.
 * Arguments: logits, labels, dlogits or 0, report, B, K, smoothing; one task.
 */
export function crossEntropy(command: usize, scratch: usize): void {
  const batch = int(command, 4);
  const k = int(command, 5);
  const smoothing = <f64>float(command, 6);
  const share = smoothing / <f64>k;
  let loss: f64 = 0;
  let top1 = 0;
  let top5 = 0;
  for (let b = 0; b < batch; b++) {
    const logits = address(command, 0) + bytes(b * k);
    const label = <i32>f32.load(address(command, 1) + bytes(b));
    const wanted = f32.load(logits + bytes(label));
    let largest = f32.load(logits);
    let sum: f64 = 0;
    let above = 0;
    for (let i = 0; i < k; i++) {
      const x = f32.load(logits + bytes(i));
      largest = max(largest, x);
      sum += <f64>x;
      if (x > wanted || (x == wanted && i < label)) above++;
    }
    if (sum - sum != 0) above = k;
    if (above < 1) top1++;
    if (above < 5) top5++;
    const m = f32x4.splat(largest);
    for (let i = 0; i < k; i += 4) {
      const at = bytes(i);
      v128.store(scratch + at, expNegated4(f32x4.sub(m, v128.load(logits + at))));
    }
    let total: f64 = 0;
    for (let i = 0; i < k; i++) total += <f64>f32.load(scratch + bytes(i));
    const logTotal = <f64>largest + Math.log(total);
    loss += logTotal - (1 - smoothing) * <f64>wanted - share * sum;
    const dlogits = address(command, 2);
    if (!dlogits) continue;
    const scale = f32x4.splat(<f32>(1 / total));
    const base = f32x4.splat(<f32>share);
    const out = dlogits + bytes(b * k);
    for (let i = 0; i < k; i += 4) {
      const at = bytes(i);
      put(out + at, f32x4.sub(f32x4.mul(v128.load(scratch + at), scale), base), k - i);
    }
    const there = out + bytes(label);
    const chance = <f64>f32.load(scratch + bytes(label)) / total;
    f32.store(there, <f32>(chance - share - (1 - smoothing)));
  }
  const report = address(command, 3);
  f32.store(report, <f32>loss);
  f32.store(report, <f32>top1, 4);
  f32.store(report, <f32>top5, 8);
}
