/** Depthwise 3x3 convolutions of any stride and dilation, and their gradients: one pixel an invocation. */

import { type Kernel, kernel, vector } from "../kernel.ts";
import { type DepthwiseOptions, GEOMETRY } from "./depthwise.ts";

/** Any stride and dilation, forward (`grad` false) or input gradient, one pixel an invocation. */
export function depthwiseDilatedKernel(
  o: Pick<DepthwiseOptions, "width" | "stride" | "workgroup"> & { readonly grad: boolean },
): Kernel {
  const t = vector(o.width);
  const [from, to] = o.grad ? ["out", "in"] : ["in", "out"];
  const where = o.grad
    ? `let uy = y - ty; let ux = x - tx;
let sy = uy / ${o.stride}; let sx = ux / ${o.stride};
let inside = (uy >= 0) & (ux >= 0) & (sy * ${o.stride} == uy) & (sx * ${o.stride} == ux) & (sy < i32(p.outH)) & (sx < i32(p.outW));`
    : `let sy = y * ${o.stride} + ty; let sx = x * ${o.stride} + tx;
let inside = (u32(sy) < p.inH) & (u32(sx) < p.inW);`;
  return kernel(
    {
      key: `depthwiseDilated/${o.grad}/${o.stride}/${o.width}`,
      params: GEOMETRY,
      reads: [
        ["source", t],
        ["w", t],
      ],
      writes: [["result", t]],
      body: `let cv = p.C / ${o.width}u;
let c = id % cv;
let pixel = id / cv;
let x = i32(pixel % p.${to}W);
let y = i32(pixel / p.${to}W % p.${to}H);
let image = pixel / (p.${to}W * p.${to}H);
var sum = ${t}(0.0);
for (var tap = 0u; tap < 9u; tap++) {
let ty = (i32(tap / 3u) - 1) * i32(p.dilation);
let tx = (i32(tap % 3u) - 1) * i32(p.dilation);
${where}
let at = select(0u, ((image * p.${from}H + u32(sy)) * p.${from}W + u32(sx)) * cv + c, inside);
sum = fma(select(${t}(0.0), source[at], inside), w[tap * cv + c], sum);
}
result[id] = sum;`,
    },
    o.workgroup,
  );
}

/**
 * out[slab, tap, c] = Σ x[pixel(m, tap), c]·dy[m, c] over the slab's pixels, tap by tap. The parameter
 * `rows` is not used.
 */
export function depthwiseDilatedWeightGradKernel(
  o: Pick<DepthwiseOptions, "width" | "stride" | "workgroup">,
): Kernel {
  const t = vector(o.width);
  return kernel(
    {
      key: `depthwiseDilatedWeightGrad/${o.stride}/${o.width}`,
      params: [...GEOMETRY, "pixelsPerSlab", "slabStride"],
      reads: [
        ["x", t],
        ["dy", t],
      ],
      writes: [["out", t]],
      body: `let cv = p.C / ${o.width}u;
let c = id % cv;
let tap = id / cv % 9u;
let slab = id / (cv * 9u);
let ty = (i32(tap / 3u) - 1) * i32(p.dilation);
let tx = (i32(tap % 3u) - 1) * i32(p.dilation);
let last = min((slab + 1u) * p.pixelsPerSlab, p.batch * p.outH * p.outW);
var sum = ${t}(0.0);
for (var m = slab * p.pixelsPerSlab; m < last; m++) {
let sy = i32(m / p.outW % p.outH) * ${o.stride} + ty;
let sx = i32(m % p.outW) * ${o.stride} + tx;
let inside = (u32(sy) < p.inH) & (u32(sx) < p.inW);
let at = select(0u, ((m / (p.outW * p.outH) * p.inH + u32(sy)) * p.inW + u32(sx)) * cv + c, inside);
sum = fma(select(${t}(0.0), x[at], inside), dy[m * cv + c], sum);
}
out[slab * p.slabStride + tap * cv + c] = sum;`,
    },
    o.workgroup,
  );
}
