/** Batch norm with its activation: two-stage statistics, then one pass over strips of rows. */

import { activation, type Kernel, kernel, vector, type Width } from "../kernel.ts";

/** Added to the variance (SPEC section 1). */
export const EPSILON = "1e-5";

/** Rows that are summed by themselves before they are added to the rest. */
const SHORT = 32;

export interface NormOptions {
  readonly width: Width;
  readonly workgroup: number;
}

/** out[slab] = [mean, Σ(x - mean)²] of the slab's rows, for each channel. x is [M, C]. */
export function batchStatisticsKernel(o: NormOptions): Kernel {
  const t = vector(o.width);
  return kernel(
    {
      key: `batchStatistics/${o.width}`,
      params: ["M", "C", "rowsPerSlab"],
      reads: [["x", t]],
      writes: [["out", t]],
      // Sums are taken around the mean of four rows, few rows at a time: no digits go to a far mean or
      // to a long sum.
      body: `let cv = p.C / ${o.width}u;
let c = id % cv;
let slab = id / cv;
let first = slab * p.rowsPerSlab;
let last = min(first + p.rowsPerSlab, p.M);
var origin = ${t}(0.0);
for (var k = 0u; k < 4u; k++) { origin += x[(first + (last - first) * (2u * k + 1u) / 8u) * cv + c] * 0.25; }
var sum = ${t}(0.0);
var squares = ${t}(0.0);
for (var begin = first; begin < last; begin += ${SHORT}u) {
let to = min(begin + ${SHORT}u, last);
var some = ${t}(0.0);
var someSquares = ${t}(0.0);
for (var m = begin; m < to; m++) {
let d = x[m * cv + c] - origin;
some += d;
someSquares = fma(d, d, someSquares);
}
sum += some;
squares += someSquares;
}
let share = sum / f32(last - first);
out[slab * 2u * cv + c] = origin + share;
out[(slab * 2u + 1u) * cv + c] = squares - sum * share;`,
    },
    o.workgroup,
  );
}

/**
 * Combines the slabs: mean, unbiased variance, 1/sqrt(biased variance + epsilon), and for the next
 * kernel the coefficients [mean, gamma·rstd, beta] of each channel.
 */
export function batchMomentsKernel(o: NormOptions): Kernel {
  const t = vector(o.width);
  return kernel(
    {
      key: `batchMoments/${o.width}`,
      params: ["M", "C", "rowsPerSlab", "slabs"],
      reads: [
        ["parts", t],
        ["gamma", t],
        ["beta", t],
      ],
      writes: [
        ["mean", t],
        ["variance", t],
        ["rstd", t],
        ["coefficients", t],
      ],
      body: `let cv = p.C / ${o.width}u;
let c = id;
let origin = parts[c];
var sum = ${t}(0.0);
for (var s = 1u; s < p.slabs; s++) {
let rows = min(p.rowsPerSlab, p.M - s * p.rowsPerSlab);
sum += (parts[s * 2u * cv + c] - origin) * f32(rows);
}
let center = origin + sum / f32(p.M);
var squares = ${t}(0.0);
for (var s = 0u; s < p.slabs; s++) {
let rows = min(p.rowsPerSlab, p.M - s * p.rowsPerSlab);
let d = parts[s * 2u * cv + c] - center;
squares += parts[(s * 2u + 1u) * cv + c] + d * d * f32(rows);
}
mean[c] = center;
variance[c] = squares / f32(max(p.M, 2u) - 1u);
let scale = ${t}(1.0) / sqrt(squares / f32(p.M) + ${t}(${EPSILON}));
rstd[c] = scale;
coefficients[c] = center;
coefficients[cv + c] = gamma[c] * scale;
coefficients[2u * cv + c] = beta[c];`,
    },
    o.workgroup,
  );
}

/** y = act(scale·(x - mean) + beta), plus a residual where the parameter says so, on strips of rows, from `batchMomentsKernel`. */
export function batchApplyKernel(o: NormOptions): Kernel {
  const t = vector(o.width);
  return kernel(
    {
      key: `batchApply/${o.width}`,
      params: ["M", "C", "strip", "act", "residual"],
      reads: [
        ["x", t],
        ["coefficients", t],
        ["residual", t],
      ],
      writes: [["y", t]],
      functions: activation(o.width),
      body: `let cv = p.C / ${o.width}u;
let c = id % cv;
let first = id / cv * p.strip;
let last = min(first + p.strip, p.M);
let center = coefficients[c];
let scale = coefficients[cv + c];
let shift = coefficients[2u * cv + c];
for (var m = first; m < last; m++) {
let i = m * cv + c;
var z = act(fma(x[i] - center, scale, shift));
if (p.residual > 0u) { z += residual[i]; }
y[i] = z;
}`,
    },
    o.workgroup,
  );
}

/** y = act(gamma·(x - mean)/sqrt(variance + epsilon) + beta), on running statistics. */
export function batchEvalKernel(o: NormOptions): Kernel {
  const t = vector(o.width);
  return kernel(
    {
      key: `batchEval/${o.width}`,
      params: ["M", "C", "strip", "act"],
      reads: [
        ["x", t],
        ["mean", t],
        ["variance", t],
        ["gamma", t],
        ["beta", t],
      ],
      writes: [["y", t]],
      functions: activation(o.width),
      body: `let cv = p.C / ${o.width}u;
let c = id % cv;
let first = id / cv * p.strip;
let last = min(first + p.strip, p.M);
let center = mean[c];
let scale = gamma[c] / sqrt(variance[c] + ${t}(${EPSILON}));
let shift = beta[c];
for (var m = first; m < last; m++) {
let i = m * cv + c;
y[i] = act(fma(x[i] - center, scale, shift));
}`,
    },
    o.workgroup,
  );
}

/** out[slab] = [Σ dz, Σ dz·xhat] of the slab's rows, with dz the gradient before the activation. */
export function batchGradSumsKernel(o: NormOptions): Kernel {
  const t = vector(o.width);
  return kernel(
    {
      key: `batchGradSums/${o.width}`,
      params: ["M", "C", "rowsPerSlab", "act"],
      reads: [
        ["x", t],
        ["mean", t],
        ["rstd", t],
        ["gamma", t],
        ["beta", t],
        ["dy", t],
      ],
      writes: [["out", t]],
      functions: activation(o.width),
      body: `let cv = p.C / ${o.width}u;
let c = id % cv;
let slab = id / cv;
let first = slab * p.rowsPerSlab;
let last = min(first + p.rowsPerSlab, p.M);
let center = mean[c];
let scale = rstd[c];
let weight = gamma[c];
let shift = beta[c];
var sum = ${t}(0.0);
var product = ${t}(0.0);
for (var m = first; m < last; m++) {
let i = m * cv + c;
let hat = (x[i] - center) * scale;
let dz = dy[i] * slope(fma(hat, weight, shift));
sum += dz;
product = fma(dz, hat, product);
}
out[slab * 2u * cv + c] = sum;
out[(slab * 2u + 1u) * cv + c] = product;`,
    },
    o.workgroup,
  );
}

/**
 * Adds the slabs: dbeta = Σ dz, dgamma = Σ dz·xhat; and for the next kernel the coefficients
 * [mean, rstd, gamma, beta, dbeta/M, dgamma/M] of each channel.
 */
export function batchGradTotalsKernel(o: NormOptions): Kernel {
  const t = vector(o.width);
  return kernel(
    {
      key: `batchGradTotals/${o.width}`,
      params: ["M", "slabs"],
      reads: [
        ["parts", t],
        ["mean", t],
        ["rstd", t],
        ["gamma", t],
        ["beta", t],
      ],
      writes: [
        ["dgamma", t],
        ["dbeta", t],
        ["coefficients", t],
      ],
      body: `let cv = p.total;
var sum = ${t}(0.0);
var product = ${t}(0.0);
for (var s = 0u; s < p.slabs; s++) {
sum += parts[s * 2u * cv + id];
product += parts[(s * 2u + 1u) * cv + id];
}
dgamma[id] = product;
dbeta[id] = sum;
coefficients[id] = mean[id];
coefficients[cv + id] = rstd[id];
coefficients[2u * cv + id] = gamma[id];
coefficients[3u * cv + id] = beta[id];
coefficients[4u * cv + id] = sum / f32(p.M);
coefficients[5u * cv + id] = product / f32(p.M);`,
    },
    o.workgroup,
  );
}

/** dx = gamma·rstd·(dz - dbeta/M - xhat·dgamma/M) on strips of rows, from `batchGradTotalsKernel`. */
export function batchGradApplyKernel(o: NormOptions): Kernel {
  const t = vector(o.width);
  return kernel(
    {
      key: `batchGradApply/${o.width}`,
      params: ["M", "C", "strip", "act"],
      reads: [
        ["x", t],
        ["dy", t],
        ["coefficients", t],
      ],
      writes: [["dx", t]],
      functions: activation(o.width),
      body: `let cv = p.C / ${o.width}u;
let c = id % cv;
let first = id / cv * p.strip;
let last = min(first + p.strip, p.M);
let center = coefficients[c];
let scale = coefficients[cv + c];
let weight = coefficients[2u * cv + c];
let shift = coefficients[3u * cv + c];
let dbeta = coefficients[4u * cv + c];
let dgamma = coefficients[5u * cv + c];
let outer = weight * scale;
for (var m = first; m < last; m++) {
let i = m * cv + c;
let hat = (x[i] - center) * scale;
let dz = dy[i] * slope(fma(hat, weight, shift));
dx[i] = outer * (dz - dbeta - hat * dgamma);
}`,
    },
    o.workgroup,
  );
}
