/**
 * Depthwise 3x3 convolutions of dilation 1 and their gradients: vectors of channels, strips of pixels.
 * One invocation walks down a strip `columns` wide and keeps what neighbouring rows share in registers.
 */

import { type Kernel, kernel, remembered, repeat, vector, type Width } from "../kernel.ts";

export interface DepthwiseOptions {
  readonly width: Width;
  readonly stride: 1 | 2;
  /** Columns of the result that one invocation computes (even for a strided input gradient). */
  readonly columns: number;
  readonly workgroup: number;
}

/** Parameters of every depthwise kernel. */
export const GEOMETRY = ["C", "batch", "inH", "inW", "outH", "outW", "dilation", "rows"] as const;

/**
 * y[b, oy, ox, c] = Σ x[b, oy·s + (ky-1)·d, …]·w[ky, kx, c], `rows` rows of y a strip. With the parameter
 * `flip` the taps run backwards: the input gradient at stride 1. Dilation 1 only.
 */
export const depthwiseKernel = remembered((o: DepthwiseOptions): Kernel => {
  const { columns, stride } = o;
  const t = vector(o.width);
  /** Adds input row `v` under tap row ky to accumulators `name`. */
  const add = (name: string, ky: number) =>
    repeat(columns * 3, (i) => {
      const [x, kx] = [Math.floor(i / 3), i % 3];
      return `${name}${x} = fma(v${x * stride + kx}, w${ky * 3 + kx}, ${name}${x});`;
    });
  const clear = (name: string) => repeat(columns, (x) => `var ${name}${x} = ${t}(0.0);`);
  const move = (to: string, from: string) => repeat(columns, (x) => `${to}${x} = ${from}${x};`);
  const store = (name: string, row: string) => `if (${row} >= y0 && ${row} < y1) {
let at = ((image * p.outH + u32(${row})) * p.outW + tx0) * cv + c;
${repeat(columns, (x) => `if (tx0 + ${x}u < p.outW) { y[at + ${x}u * cv] = ${name}${x}; }`)}
}`;
  // Input row i is tap row 2 of output row i - 1, 1 of i, and 0 of i + 1.
  const unitStride = `${clear("above")}
${clear("here")}
for (var i = y0 - 1; i <= y1; i++) {
${clear("below")}
${inputRow(o, "i")}
${add("above", 2)}
${add("here", 1)}
${add("below", 0)}
${store("above", "(i - 1)")}
${move("above", "here")}
${move("here", "below")}
}`;
  // Output row r reads input rows 2r - 1 (shared with the row above it), 2r and 2r + 1.
  const strided = `${clear("here")}
for (var r = y0 - 1; r < y1; r++) {
${clear("below")}
{ ${inputRow(o, "2 * r")}
${add("here", 1)} }
{ ${inputRow(o, "2 * r + 1")}
${add("here", 2)}
${add("below", 0)} }
${store("here", "r")}
${move("here", "below")}
}`;
  return kernel(
    {
      key: `depthwise/${stride}/${columns}/${o.width}`,
      params: [...GEOMETRY, "flip"],
      reads: [
        ["x", t],
        ["w", t],
      ],
      writes: [["y", t]],
      body: `let cv = p.C / ${o.width}u;
let c = id % cv;
let strip = id / cv;
${stripOf("outH", "outW", columns)}
${repeat(9, (k) => `let w${k} = w[select(${k}u, ${8 - k}u, p.flip > 0u) * cv + c];`)}
${inputColumns(o)}
${stride === 1 ? unitStride : strided}`,
    },
    o.workgroup,
  );
});

/** dx of a stride-2 convolution, two rows for each row of dy; `rows` is even. Dilation 1 only. */
export const depthwiseStridedInputGradKernel = remembered((o: DepthwiseOptions): Kernel => {
  const { columns } = o;
  const t = vector(o.width);
  const span = columns / 2 + 1;
  const load = (name: string, row: string, declare: string) => `{ let sy = ${row};
let inY = u32(sy) < p.outH;
let at = (image * p.outH + min(u32(sy), p.outH - 1u)) * p.outW * cv + c;
${repeat(span, (j) => `${declare}${name}${j} = select(${t}(0.0), dy[at + px${j}], inY & in${j});`)} }`;
  // Along an axis input 2k is tap 1 of k; input 2k + 1 is tap 2 of k and tap 0 of k + 1.
  const across = (name: string, ky: number, x: number) => {
    const k = Math.floor(x / 2);
    return x % 2 === 0
      ? [`${name}${k} * w${ky * 3 + 1}`]
      : [`${name}${k} * w${ky * 3 + 2}`, `${name}${k + 1} * w${ky * 3}`];
  };
  const store = (row: string, sum: (x: number) => string[]) => `if (${row} < y1) {
let at = ((image * p.inH + u32(${row})) * p.inW + tx0) * cv + c;
${repeat(
  columns,
  (x) => `if (tx0 + ${x}u < p.inW) { dx[at + ${x}u * cv] = ${sum(x).join(" + ")}; }`,
)}
}`;
  return kernel(
    {
      key: `depthwiseStridedInputGrad/${columns}/${o.width}`,
      params: GEOMETRY,
      reads: [
        ["dy", t],
        ["w", t],
      ],
      writes: [["dx", t]],
      body: `let cv = p.C / ${o.width}u;
let c = id % cv;
let strip = id / cv;
${stripOf("inH", "inW", columns)}
${repeat(9, (k) => `let w${k} = w[${k}u * cv + c];`)}
${repeat(
  span,
  (j) => `let in${j} = tx0 / 2u + ${j}u < p.outW;
let px${j} = min(tx0 / 2u + ${j}u, p.outW - 1u) * cv;
var here${j} = ${t}(0.0);
var below${j} = ${t}(0.0);`,
)}
${load("here", "y0 / 2", "")}
for (var i = y0; i < y1; i += 2) {
${load("below", "i / 2 + 1", "")}
${store("i", (x) => across("here", 1, x))}
${store("(i + 1)", (x) => [...across("here", 2, x), ...across("below", 0, x)])}
${repeat(span, (j) => `here${j} = below${j};`)}
}`,
    },
    o.workgroup,
  );
});

/**
 * out[slab, tap, c] = Σ x[pixel(m, tap), c]·dy[m, c] over the slab's strips of dy. Dilation 1 only.
 */
export const depthwiseWeightGradKernel = remembered((o: DepthwiseOptions): Kernel => {
  const { columns, stride } = o;
  const t = vector(o.width);
  const clear = (name: string) => repeat(columns, (x) => `var ${name}${x} = ${t}(0.0);`);
  const move = (to: string, from: string) => repeat(columns, (x) => `${to}${x} = ${from}${x};`);
  const add = (name: string, ky: number) =>
    repeat(columns * 3, (i) => {
      const [x, kx] = [Math.floor(i / 3), i % 3];
      return `s${ky * 3 + kx} = fma(v${x * stride + kx}, ${name}${x}, s${ky * 3 + kx});`;
    });
  const gradientRow = (name: string, row: string) => `let gy = ${row};
let inG = (gy >= y0) & (gy < y1);
let ga = ((image * p.outH + min(u32(gy), p.outH - 1u)) * p.outW) * cv + c;
${repeat(columns, (x) => `let ${name}${x} = select(${t}(0.0), dy[ga + gx${x}], inG & inG${x});`)}`;
  const unitStride = `for (var i = y0 - 1; i <= y1; i++) {
${gradientRow("below", "i + 1")}
${inputRow(o, "i")}
${add("above", 2)}
${add("here", 1)}
${add("below", 0)}
${move("above", "here")}
${move("here", "below")}
}`;
  const strided = `for (var r = y0 - 1; r < y1; r++) {
${gradientRow("below", "r + 1")}
{ ${inputRow(o, "2 * r")}
${add("here", 1)} }
{ ${inputRow(o, "2 * r + 1")}
${add("here", 2)}
${add("below", 0)} }
${move("here", "below")}
}`;
  return kernel(
    {
      key: `depthwiseWeightGrad/${stride}/${columns}/${o.width}`,
      params: [...GEOMETRY, "stripsPerSlab", "slabStride"],
      reads: [
        ["x", t],
        ["dy", t],
      ],
      writes: [["out", t]],
      body: `let cv = p.C / ${o.width}u;
let c = id % cv;
let slab = id / cv;
let strips = p.batch * ((p.outW + ${columns - 1}u) / ${columns}u) * ((p.outH + p.rows - 1u) / p.rows);
let last = min((slab + 1u) * p.stripsPerSlab, strips);
${repeat(9, (k) => `var s${k} = ${t}(0.0);`)}
for (var strip = slab * p.stripsPerSlab; strip < last; strip++) {
${stripOf("outH", "outW", columns)}
${inputColumns(o)}
${repeat(
  columns,
  (x) => `let inG${x} = tx0 + ${x}u < p.outW;
let gx${x} = min(tx0 + ${x}u, p.outW - 1u) * cv;`,
)}
${stride === 1 ? clear("above") : ""}
${clear("here")}
${stride === 1 ? unitStride : strided}
}
${repeat(9, (k) => `out[slab * p.slabStride + ${k}u * cv + c] = s${k};`)}`,
    },
    o.workgroup,
  );
});

/** The place of strip number `strip`: image, first column, rows y0 to y1 of the named map. */
function stripOf(height: string, width: string, columns: number): string {
  return `let across = (p.${width} + ${columns - 1}u) / ${columns}u;
let down = (p.${height} + p.rows - 1u) / p.rows;
let tx0 = (strip % across) * ${columns}u;
let y0 = i32((strip / across % down) * p.rows);
let y1 = min(y0 + i32(p.rows), i32(p.${height}));
let image = strip / (across * down);`;
}

/** Offsets and bounds of the input columns that a strip reads: `px0 …`, `in0 …`. */
function inputColumns({ columns, stride }: DepthwiseOptions): string {
  return `let ix0 = i32(tx0) * ${stride} - 1;
${repeat(
  (columns - 1) * stride + 3,
  (j) => `let in${j} = u32(ix0 + ${j}) < p.inW;
let px${j} = u32(clamp(ix0 + ${j}, 0, i32(p.inW) - 1)) * cv;`,
)}`;
}

/** Loads one input row of the strip as `v0 …`, zero outside. */
function inputRow({ columns, stride, width }: DepthwiseOptions, row: string): string {
  const t = vector(width);
  return `let sy = ${row};
let inY = u32(sy) < p.inH;
let ra = (image * p.inH + u32(clamp(sy, 0, i32(p.inH) - 1))) * p.inW * cv + c;
${repeat(
  (columns - 1) * stride + 3,
  (j) => `let v${j} = select(${t}(0.0), x[ra + px${j}], inY & in${j});`,
)}`;
}
