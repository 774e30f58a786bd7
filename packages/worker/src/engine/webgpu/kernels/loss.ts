/** Smoothed cross-entropy with counts of correct answers. */

import { type Kernel, kernel } from "../kernel.ts";

/**
 * One sample an invocation: rows[b] = [loss, in top 1, in top 5], and dlogits of the summed loss where
 * `grad`. A tie with the label's logit counts for the class that comes first.
 */
export function crossEntropyKernel(grad: boolean, workgroup: number): Kernel {
  return kernel(
    {
      key: `crossEntropy/${grad}`,
      params: ["K", "smoothing:f32"],
      reads: [
        ["logits", "f32"],
        ["labels", "f32"],
      ],
      writes: [["rows", "f32"], ...(grad ? [["dlogits", "f32"] as const] : [])],
      body: `let row = id * p.K;
let label = u32(labels[id]);
let own = logits[row + label];
var top = -3.0e38;
var sum = 0.0;
var ahead = 0u;
for (var k = 0u; k < p.K; k++) {
let z = logits[row + k];
top = max(top, z);
sum += z;
ahead += select(0u, 1u, (z > own) | ((z == own) & (k < label)));
}
var total = 0.0;
for (var k = 0u; k < p.K; k++) { total += exp(logits[row + k] - top); }
let norm = top + log(total);
let mean = sum / f32(p.K);
rows[id * 3u] = norm - (1.0 - p.smoothing) * own - p.smoothing * mean;
rows[id * 3u + 1u] = select(0.0, 1.0, ahead < 1u);
rows[id * 3u + 2u] = select(0.0, 1.0, ahead < 5u);
${
  grad
    ? `for (var k = 0u; k < p.K; k++) {
let hot = select(0.0, 1.0 - p.smoothing, k == label);
dlogits[row + k] = exp(logits[row + k] - norm) - hot - p.smoothing / f32(p.K);
}`
    : ""
}`,
    },
    workgroup,
  );
}

/** report = the sums of `rows` over the batch. One invocation a sum. */
export function reportKernel(workgroup: number): Kernel {
  return kernel(
    {
      key: "report",
      params: ["B"],
      reads: [["rows", "f32"]],
      writes: [["report", "f32"]],
      body: `var sum = 0.0;
for (var b = 0u; b < p.B; b++) { sum += rows[b * 3u + id]; }
report[id] = sum;`,
    },
    workgroup,
  );
}
