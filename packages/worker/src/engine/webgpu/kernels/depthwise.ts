/** Depthwise 3x3 convolutions and their gradients: vectors of channels, tiles of pixels. */

import { type Kernel, kernel, repeat, vector, type Width } from "../kernel.ts";

export interface DepthwiseOptions {
  readonly width: Width;
  readonly stride: 1 | 2;
  /** Pixels of the result that one invocation computes. */
  readonly rows: number;
  readonly columns: number;
  readonly workgroup: number;
}

const GEOMETRY = ["C", "batch", "inH", "inW", "outH", "outW", "dilation"] as const;

/**
 * y[b, oy, ox, c] = Σ x[b, oy·s + (ky-1)·d, …]·w[ky, kx, c]; each input is loaded once a tile.
 * With `flip` the taps run backwards: the input gradient at stride 1. Dilation 1 only.
 */
export function depthwiseKernel(o: DepthwiseOptions & { readonly flip: boolean }): Kernel {
  const { rows, columns, stride } = o;
  const t = vector(o.width);
  const [spanY, spanX] = [(rows - 1) * stride + 3, (columns - 1) * stride + 3];
  const line = (r: number) => {
    // Input row r feeds output row y with tap ky = r - y·stride.
    const taps = Array.from({ length: rows }, (_, y) => ({ y, ky: r - y * stride })).filter(
      ({ ky }) => ky >= 0 && ky < 3,
    );
    const loads = repeat(
      spanX,
      (c) => `let v${c} = select(${t}(0.0), x[row + px${c}], inY & in${c});`,
    );
    const sums = taps
      .flatMap(({ y, ky }) =>
        Array.from({ length: columns * 3 }, (_, i) => {
          const [ox, kx] = [Math.floor(i / 3), i % 3];
          const tap = o.flip ? 8 - (ky * 3 + kx) : ky * 3 + kx;
          return `o${y}_${ox} = fma(v${ox * stride + kx}, w${tap}, o${y}_${ox});`;
        }),
      )
      .join("\n");
    return `{ let sy = iy0 + ${r};
let inY = u32(sy) < p.inH;
let row = (image * p.inH + u32(clamp(sy, 0, i32(p.inH) - 1))) * p.inW * cv + c;
${loads}
${sums} }`;
  };
  return kernel(
    {
      key: `depthwise/${o.flip}/${stride}/${rows}x${columns}/${o.width}`,
      params: GEOMETRY,
      reads: [
        ["x", t],
        ["w", t],
      ],
      writes: [["y", t]],
      body: `${tile(o, "outH", "outW")}
let ix0 = i32(tx0) * ${stride} - 1;
let iy0 = i32(ty0) * ${stride} - 1;
${repeat(9, (k) => `let w${k} = w[${k}u * cv + c];`)}
${repeat(
  spanX,
  (c) => `let in${c} = u32(ix0 + ${c}) < p.inW;
let px${c} = u32(clamp(ix0 + ${c}, 0, i32(p.inW) - 1)) * cv;`,
)}
${repeat(rows * columns, (i) => `var o${Math.floor(i / columns)}_${i % columns} = ${t}(0.0);`)}
${repeat(spanY, line)}
${storeTile(o, "outH", "outW")}`,
    },
    o.workgroup,
  );
}

/** dx of a stride-2 convolution: each gradient row feeds up to three input rows. Dilation 1 only. */
export function depthwiseStridedInputGradKernel(o: DepthwiseOptions): Kernel {
  const { rows, columns } = o; // both even, so a tile starts at even pixels
  const t = vector(o.width);
  const [spanY, spanX] = [rows / 2 + 1, columns / 2 + 1];
  // Output o reads input 2o + k - 1; relative to the tile, input i is 2·r + k - 1.
  const line = (r: number) => {
    const loads = repeat(
      spanX,
      (c) => `let v${c} = select(${t}(0.0), dy[row + px${c}], inY & in${c});`,
    );
    const sums: string[] = [];
    for (let ky = 0; ky < 3; ky++)
      for (let c = 0; c < spanX; c++)
        for (let kx = 0; kx < 3; kx++) {
          const [y, x] = [2 * r + ky - 1, 2 * c + kx - 1];
          if (y >= 0 && y < rows && x >= 0 && x < columns)
            sums.push(`o${y}_${x} = fma(v${c}, w${ky * 3 + kx}, o${y}_${x});`);
        }
    return `{ let sy = ty0 / 2u + ${r}u;
let inY = sy < p.outH;
let row = (image * p.outH + min(sy, p.outH - 1u)) * p.outW * cv + c;
${loads}
${sums.join("\n")} }`;
  };
  return kernel(
    {
      key: `depthwiseStridedInputGrad/${rows}x${columns}/${o.width}`,
      params: GEOMETRY,
      reads: [
        ["dy", t],
        ["w", t],
      ],
      writes: [["y", t]],
      body: `${tile(o, "inH", "inW")}
${repeat(9, (k) => `let w${k} = w[${k}u * cv + c];`)}
${repeat(
  spanX,
  (c) => `let in${c} = tx0 / 2u + ${c}u < p.outW;
let px${c} = min(tx0 / 2u + ${c}u, p.outW - 1u) * cv;`,
)}
${repeat(rows * columns, (i) => `var o${Math.floor(i / columns)}_${i % columns} = ${t}(0.0);`)}
${repeat(spanY, line)}
${storeTile(o, "inH", "inW")}`,
    },
    o.workgroup,
  );
}

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
 * out[slab, tap, c] = Σ x[pixel(m, tap), c]·dy[m, c] over the slab's tiles of output pixels. A slab is
 * `tilesPerSlab` tiles; a tile loads its inputs once (dilation 1), or tap by tap (`dilated`).
 */
export function depthwiseWeightGradKernel(
  o: DepthwiseOptions & { readonly dilated: boolean },
): Kernel {
  const { rows, columns, stride } = o;
  const t = vector(o.width);
  const spanX = (columns - 1) * stride + 3;
  const spanY = (rows - 1) * stride + 3;
  const gradients = repeat(
    rows * columns,
    (i) => `let g${Math.floor(i / columns)}_${i % columns} = select(${t}(0.0),
dy[((image * p.outH + min(ty0 + ${Math.floor(i / columns)}u, p.outH - 1u)) * p.outW + min(tx0 + ${i % columns}u, p.outW - 1u)) * cv + c],
(ty0 + ${Math.floor(i / columns)}u < p.outH) & (tx0 + ${i % columns}u < p.outW));`,
  );
  const line = (r: number) => {
    const sums: string[] = [];
    for (let y = 0; y < rows; y++) {
      const ky = r - y * stride;
      if (ky < 0 || ky > 2) continue;
      for (let x = 0; x < columns; x++)
        for (let kx = 0; kx < 3; kx++)
          sums.push(`s${ky * 3 + kx} = fma(v${x * stride + kx}, g${y}_${x}, s${ky * 3 + kx});`);
    }
    return `{ let sy = iy0 + ${r};
let inY = u32(sy) < p.inH;
let row = (image * p.inH + u32(clamp(sy, 0, i32(p.inH) - 1))) * p.inW * cv + c;
${repeat(spanX, (c) => `let v${c} = select(${t}(0.0), x[row + px${c}], inY & in${c});`)}
${sums.join("\n")} }`;
  };
  const dense = `let ix0 = i32(tx0) * ${stride} - 1;
let iy0 = i32(ty0) * ${stride} - 1;
${repeat(
  spanX,
  (c) => `let in${c} = u32(ix0 + ${c}) < p.inW;
let px${c} = u32(clamp(ix0 + ${c}, 0, i32(p.inW) - 1)) * cv;`,
)}
${repeat(spanY, line)}`;
  const dilated = repeat(9, (k) =>
    repeat(rows * columns, (i) => {
      const [y, x] = [Math.floor(i / columns), i % columns];
      return `{ let sy = i32(ty0 + ${y}u) * ${stride} + ${Math.floor(k / 3) - 1} * i32(p.dilation);
let sx = i32(tx0 + ${x}u) * ${stride} + ${(k % 3) - 1} * i32(p.dilation);
let inside = (u32(sy) < p.inH) & (u32(sx) < p.inW);
let at = select(0u, ((image * p.inH + u32(sy)) * p.inW + u32(sx)) * cv + c, inside);
s${k} = fma(select(${t}(0.0), x[at], inside), g${y}_${x}, s${k}); }`;
    }),
  );
  return kernel(
    {
      key: `depthwiseWeightGrad/${o.dilated}/${stride}/${rows}x${columns}/${o.width}`,
      params: [...GEOMETRY, "tilesPerSlab", "slabStride"],
      reads: [
        ["x", t],
        ["dy", t],
      ],
      writes: [["out", t]],
      body: `let cv = p.C / ${o.width}u;
let c = id % cv;
let slab = id / cv;
let across = (p.outW + ${columns - 1}u) / ${columns}u;
let down = (p.outH + ${rows - 1}u) / ${rows}u;
let first = slab * p.tilesPerSlab;
let last = min(first + p.tilesPerSlab, p.batch * across * down);
${repeat(9, (k) => `var s${k} = ${t}(0.0);`)}
for (var i = first; i < last; i++) {
let tx0 = (i % across) * ${columns}u;
let ty0 = (i / across % down) * ${rows}u;
let image = i / (across * down);
${gradients}
${o.dilated ? dilated : dense}
}
${repeat(9, (k) => `out[slab * p.slabStride + ${k}u * cv + c] = s${k};`)}`,
    },
    o.workgroup,
  );
}

/** The invocation's channels and the corner of its tile in a map of the named height and width. */
function tile(o: DepthwiseOptions, height: string, width: string): string {
  return `let cv = p.C / ${o.width}u;
let c = id % cv;
let across = (p.${width} + ${o.columns - 1}u) / ${o.columns}u;
let down = (p.${height} + ${o.rows - 1}u) / ${o.rows}u;
let tx0 = (id / cv % across) * ${o.columns}u;
let ty0 = (id / (cv * across) % down) * ${o.rows}u;
let image = id / (cv * across * down);`;
}

function storeTile(o: DepthwiseOptions, height: string, width: string): string {
  return repeat(
    o.rows,
    (r) => `if (ty0 + ${r}u < p.${height}) {
let at = ((image * p.${height} + ty0 + ${r}u) * p.${width} + tx0) * cv + c;
${repeat(o.columns, (c) => `if (tx0 + ${c}u < p.${width}) { y[at + ${c}u * cv] = o${r}_${c}; }`)}
}`,
  );
}
