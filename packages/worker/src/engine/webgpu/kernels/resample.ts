/** Bilinear resize with half-pixel centres, mean pooling, and their gradients. */

import { type Kernel, kernel, vector, type Width } from "../kernel.ts";

const SIZES = ["C", "inH", "inW", "outH", "outW"] as const;

/** Where output pixel `o` of `to` reads along an axis of `size` pixels: lower index and weight of the upper. */
const SOURCE = `
fn place(o: u32, size: u32, to: u32) -> f32 {
return clamp((f32(o) + 0.5) * f32(size) / f32(to) - 0.5, 0.0, f32(size - 1u));
}`;

/** [B, inH, inW, C] → [B, outH, outW, C]. */
export function resizeKernel(width: Width, workgroup: number): Kernel {
  const t = vector(width);
  return kernel(
    {
      key: `resize/${width}`,
      params: SIZES,
      reads: [["x", t]],
      writes: [["y", t]],
      functions: SOURCE,
      body: `let cv = p.C / ${width}u;
let c = id % cv;
let pixel = id / cv;
let fx = place(pixel % p.outW, p.inW, p.outW);
let fy = place(pixel / p.outW % p.outH, p.inH, p.outH);
let image = pixel / (p.outW * p.outH) * p.inH;
let x0 = u32(fx); let x1 = min(x0 + 1u, p.inW - 1u); let wx = fx - f32(x0);
let y0 = u32(fy); let y1 = min(y0 + 1u, p.inH - 1u); let wy = fy - f32(y0);
let upper = mix(x[((image + y0) * p.inW + x0) * cv + c], x[((image + y0) * p.inW + x1) * cv + c], ${t}(wx));
let lower = mix(x[((image + y1) * p.inW + x0) * cv + c], x[((image + y1) * p.inW + x1) * cv + c], ${t}(wx));
y[id] = mix(upper, lower, ${t}(wy));`,
    },
    workgroup,
  );
}

/** dx[i] gathers every dy whose two by two sources include pixel i. */
export function resizeGradKernel(width: Width, workgroup: number): Kernel {
  const t = vector(width);
  return kernel(
    {
      key: `resizeGrad/${width}`,
      params: SIZES,
      reads: [["dy", t]],
      writes: [["dx", t]],
      // Output o lies at (o + 0.5)·from/to - 0.5; those within one pixel of i are a short range, and
      // the edge pixels also take what was clamped.
      functions: `${SOURCE}
fn weight(o: u32, i: u32, size: u32, to: u32) -> f32 {
let f = place(o, size, to);
let low = u32(f);
let high = min(low + 1u, size - 1u);
let w = f - f32(low);
return select(0.0, 1.0 - w, low == i) + select(0.0, w, high == i);
}
fn lowest(i: u32, size: u32, to: u32) -> u32 {
let f = (f32(i) - 0.5) * f32(to) / f32(size) - 1.5;
return select(u32(max(f, 0.0)), 0u, i == 0u);
}
fn highest(i: u32, size: u32, to: u32) -> u32 {
let f = (f32(i) + 1.5) * f32(to) / f32(size) + 1.5;
return select(min(u32(f), to - 1u), to - 1u, i == size - 1u);
}`,
      body: `let cv = p.C / ${width}u;
let c = id % cv;
let pixel = id / cv;
let ix = pixel % p.inW;
let iy = pixel / p.inW % p.inH;
let image = pixel / (p.inW * p.inH) * p.outH;
let x1 = highest(ix, p.inW, p.outW);
let y1 = highest(iy, p.inH, p.outH);
var sum = ${t}(0.0);
for (var y = lowest(iy, p.inH, p.outH); y <= y1; y++) {
let wy = weight(y, iy, p.inH, p.outH);
for (var x = lowest(ix, p.inW, p.outW); x <= x1; x++) {
sum = fma(${t}(wy * weight(x, ix, p.inW, p.outW)), dy[((image + y) * p.outW + x) * cv + c], sum);
}
}
dx[id] = sum;`,
    },
    workgroup,
  );
}

/** y[b, c] = the mean of x[b, :, c] over P positions. */
export function meanPoolKernel(width: Width, workgroup: number): Kernel {
  const t = vector(width);
  return kernel(
    {
      key: `meanPool/${width}`,
      params: ["C", "P"],
      reads: [["x", t]],
      writes: [["y", t]],
      body: `let cv = p.C / ${width}u;
let first = id / cv * p.P * cv + id % cv;
var sum = ${t}(0.0);
for (var i = 0u; i < p.P; i++) { sum += x[first + i * cv]; }
y[id] = sum / f32(p.P);`,
    },
    workgroup,
  );
}

/** dx[b, :, c] = dy[b, c] / P. */
export function meanPoolGradKernel(width: Width, workgroup: number): Kernel {
  const t = vector(width);
  return kernel(
    {
      key: `meanPoolGrad/${width}`,
      params: ["C", "P"],
      reads: [["dy", t]],
      writes: [["dx", t]],
      body: `let cv = p.C / ${width}u;
dx[id] = dy[id / (cv * p.P) * cv + id % cv] / f32(p.P);`,
    },
    workgroup,
  );
}
