/** Layer norm over the last axis of [M, C]: one row an invocation. */

import { component, type Kernel, kernel, vector } from "../kernel.ts";
import { EPSILON, type NormOptions } from "./batch-norm.ts";

/** Adds up the components of a vector expression. */
function sum(expression: string, width: NormOptions["width"]): string {
  return Array.from({ length: width }, (_, i) => component(expression, width, i)).join(" + ");
}

/** y = gamma·(x - mean)·rstd + beta; keeps mean and rstd of each row. */
export function layerNormKernel(o: NormOptions): Kernel {
  const t = vector(o.width);
  return kernel(
    {
      key: `layerNorm/${o.width}`,
      params: ["C"],
      reads: [
        ["x", t],
        ["gamma", t],
        ["beta", t],
      ],
      writes: [
        ["y", t],
        ["mean", "f32"],
        ["rstd", "f32"],
      ],
      body: `let cv = p.C / ${o.width}u;
let row = id * cv;
let first = x[row];
let origin = ${component("first", o.width, 0)};
var total = ${t}(0.0);
var squares = ${t}(0.0);
for (var c = 0u; c < cv; c++) {
let d = x[row + c] - ${t}(origin);
total += d;
squares = fma(d, d, squares);
}
let share = (${sum("total", o.width)}) / f32(p.C);
let center = origin + share;
let variance = max((${sum("squares", o.width)}) / f32(p.C) - share * share, 0.0);
let scale = 1.0 / sqrt(variance + ${EPSILON});
mean[id] = center;
rstd[id] = scale;
for (var c = 0u; c < cv; c++) {
y[row + c] = fma((x[row + c] - ${t}(center)) * scale, gamma[c], beta[c]);
}`,
    },
    o.workgroup,
  );
}

/** dx of a row; where the parameter says so, a residual is added (the gradient that went around the layer). */
export function layerNormGradKernel(o: NormOptions): Kernel {
  const t = vector(o.width);
  return kernel(
    {
      key: `layerNormGrad/${o.width}`,
      params: ["C", "residual"],
      reads: [
        ["x", t],
        ["gamma", t],
        ["mean", "f32"],
        ["rstd", "f32"],
        ["dy", t],
        ["residual", t],
      ],
      writes: [["dx", t]],
      body: `let cv = p.C / ${o.width}u;
let row = id * cv;
let center = mean[id];
let scale = rstd[id];
var plain = ${t}(0.0);
var product = ${t}(0.0);
for (var c = 0u; c < cv; c++) {
let g = dy[row + c] * gamma[c];
plain += g;
product = fma(g, (x[row + c] - ${t}(center)) * scale, product);
}
let a = (${sum("plain", o.width)}) / f32(p.C);
let b = (${sum("product", o.width)}) / f32(p.C);
for (var c = 0u; c < cv; c++) {
let g = dy[row + c] * gamma[c];
let hat = (x[row + c] - ${t}(center)) * scale;
var d = scale * (g - ${t}(a) - hat * b);
if (p.residual > 0u) { d += residual[row + c]; }
dx[row + c] = d;
}`,
    },
    o.workgroup,
  );
}

/** outGamma[slab] = Σ dy·xhat and outBeta[slab] = Σ dy over the slab's rows, for each channel. */
export function layerNormWeightGradKernel(o: NormOptions): Kernel {
  const t = vector(o.width);
  return kernel(
    {
      key: `layerNormWeightGrad/${o.width}`,
      params: ["M", "C", "rowsPerSlab", "slabStride"],
      reads: [
        ["x", t],
        ["mean", "f32"],
        ["rstd", "f32"],
        ["dy", t],
      ],
      writes: [
        ["outGamma", t],
        ["outBeta", t],
      ],
      body: `let cv = p.C / ${o.width}u;
let c = id % cv;
let slab = id / cv;
let first = slab * p.rowsPerSlab;
let last = min(first + p.rowsPerSlab, p.M);
var plain = ${t}(0.0);
var product = ${t}(0.0);
for (var m = first; m < last; m++) {
let g = dy[m * cv + c];
plain += g;
product = fma(g, (x[m * cv + c] - ${t}(mean[m])) * rstd[m], product);
}
outGamma[slab * p.slabStride + c] = product;
outBeta[slab * p.slabStride + c] = plain;`,
    },
    o.workgroup,
  );
}
