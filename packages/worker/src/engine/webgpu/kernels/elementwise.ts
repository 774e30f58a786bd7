/** Operations on each element, and copies that only move channels or positions. */

import { type Kernel, kernel, list, silu, vector, type Width } from "../kernel.ts";

/** y = silu(x), one vector an invocation. */
export function siluKernel(width: Width, workgroup: number): Kernel {
  const t = vector(width);
  return kernel(
    {
      key: `silu/${width}`,
      params: [],
      reads: [["x", t]],
      writes: [["y", t]],
      functions: silu(width),
      body: "y[id] = silu(x[id]);",
    },
    workgroup,
  );
}

/** dx = dy·silu'(x). */
export function siluGradKernel(width: Width, workgroup: number): Kernel {
  const t = vector(width);
  return kernel(
    {
      key: `siluGrad/${width}`,
      params: [],
      reads: [
        ["x", t],
        ["dy", t],
      ],
      writes: [["dx", t]],
      functions: silu(width),
      body: "dx[id] = dy[id] * siluSlope(x[id]);",
    },
    workgroup,
  );
}

/** y = a + b. */
export function addKernel(width: Width, workgroup: number): Kernel {
  const t = vector(width);
  return kernel(
    {
      key: `add/${width}`,
      params: [],
      reads: [
        ["a", t],
        ["b", t],
      ],
      writes: [["y", t]],
      body: "y[id] = a[id] + b[id];",
    },
    workgroup,
  );
}

/** y = 2·a: an addition of a value to itself, which may not be bound twice. */
export function twiceKernel(width: Width, workgroup: number): Kernel {
  const t = vector(width);
  return kernel(
    {
      key: `twice/${width}`,
      params: [],
      reads: [["a", t]],
      writes: [["y", t]],
      body: "y[id] = a[id] + a[id];",
    },
    workgroup,
  );
}

/** The hash of SPEC section 9, whose upper 24 bits decide what dropout keeps. */
export const HASH = `
fn hash32(seed: u32, index: u32) -> u32 {
var x = index * 0x9e3779b9u + seed;
x = (x ^ (x >> 16u)) * 0x7feb352du;
x = (x ^ (x >> 15u)) * 0x846ca68bu;
return x ^ (x >> 16u);
}`;

/**
 * y = mask·x·keep, plus a residual where the parameter says so; the mask of element i is
 * u24(hash(site, unit), i) ≥ threshold.
 */
export function dropoutKernel(width: Width, workgroup: number): Kernel {
  const t = vector(width);
  const words = width === 1 ? "u32" : `vec${width}<u32>`;
  return kernel(
    {
      key: `dropout/${width}`,
      params: ["site", "threshold", "scale:f32", "residual"],
      reads: [
        ["x", t],
        ["unit", "u32"],
        ["residual", t],
      ],
      writes: [["y", t]],
      functions: HASH,
      body: `let seed = hash32(p.site, unit[0]);
let draw = ${words}(${list(width, (i) => `hash32(seed, id * ${width}u + ${i}u)`)}) >> ${words}(8u);
var kept = select(${t}(0.0), x[id] * p.scale, draw >= ${words}(p.threshold));
if (p.residual > 0u) { kept += residual[id]; }
y[id] = kept;`,
    },
    workgroup,
  );
}

/** y[m] = [a[m], b[m]] along channels. */
export function concatKernel(width: Width, workgroup: number): Kernel {
  const t = vector(width);
  return kernel(
    {
      key: `concat/${width}`,
      params: ["A", "B"],
      reads: [
        ["a", t],
        ["b", t],
      ],
      writes: [["y", t]],
      body: `let av = p.A / ${width}u;
let bv = p.B / ${width}u;
let c = id % (av + bv);
let m = id / (av + bv);
if (c < av) { y[id] = a[m * av + c]; } else { y[id] = b[m * bv + c - av]; }`,
    },
    workgroup,
  );
}

/** The inverse: a and b from y. */
export function splitKernel(width: Width, workgroup: number): Kernel {
  const t = vector(width);
  return kernel(
    {
      key: `split/${width}`,
      params: ["A", "B"],
      reads: [["y", t]],
      writes: [
        ["a", t],
        ["b", t],
      ],
      body: `let av = p.A / ${width}u;
let bv = p.B / ${width}u;
let c = id % (av + bv);
let m = id / (av + bv);
if (c < av) { a[m * av + c] = y[id]; } else { b[m * bv + c - av] = y[id]; }`,
    },
    workgroup,
  );
}

/** [B, H, W, C] to [4B, (H/2)(W/2), C] (`unfold`) or back: one sequence a pixel offset. */
export function foldKernel(direction: "unfold" | "fold", width: Width, workgroup: number): Kernel {
  const t = vector(width);
  return kernel(
    {
      key: `${direction}/${width}`,
      params: ["H", "W", "C"],
      reads: [["x", t]],
      writes: [["y", t]],
      body: `let cv = p.C / ${width}u;
let c = id % cv;
let pixel = id / cv;
let column = pixel % p.W;
let row = pixel / p.W % p.H;
let image = pixel / (p.W * p.H);
let sequence = image * 4u + (row & 1u) * 2u + (column & 1u);
let at = (sequence * (p.H * p.W / 4u) + (row / 2u) * (p.W / 2u) + column / 2u) * cv + c;
${direction === "unfold" ? "y[at] = x[id];" : "y[id] = x[at];"}`,
    },
    workgroup,
  );
}
