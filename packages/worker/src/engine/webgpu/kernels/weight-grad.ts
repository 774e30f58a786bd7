/**
 * Weight gradients: sums over rows of outer products, in register tiles. The rows are cut into
 * slabs; each invocation writes its slab's sum and a later reduction adds the slabs.
 */

import {
  component,
  type Kernel,
  kernel,
  list,
  remembered,
  repeat,
  vector,
  type Width,
} from "../kernel.ts";

export interface WeightGradOptions {
  /** Whether rows of `a` are gathered by the nine taps of a 3x3 convolution. */
  readonly gather: boolean;
  /** Also sums the rows of `a` (the gradient of a bias). */
  readonly bias: boolean;
  /** Stores in a loop: less to compile, a little more to compute. */
  readonly compact: boolean;
  readonly tileM: number;
  readonly tileN: number;
  /** Vector widths along the channels of `a` and of `b`. */
  readonly rows: Width;
  readonly columns: Width;
  readonly workgroup: number;
}

/**
 * out[slab, tap, i, j] = Σ_m a[pixel(m, tap), i]·b[m, j] over the slab's rows m; I and J are the
 * channels, M the rows, `rowsPerSlab` the length of a slab, the strides in vectors. `outBias[slab, i]` = Σ_m a[m, i].
 */
export const weightGradKernel = remembered((o: WeightGradOptions): Kernel => {
  const { tileM, tileN, rows, columns, gather } = o;
  const [ta, tb] = [vector(rows), vector(columns)];
  const [aGroups, bGroups] = [Math.ceil(tileM / rows), Math.ceil(tileN / columns)];
  const iv = rows === 1 ? "p.I" : `(p.I / ${rows}u)`;
  const jv = columns === 1 ? "p.J" : `(p.J / ${columns}u)`;
  const updates = repeat(tileM * bGroups, (t) => {
    const [i, j] = [Math.floor(t / bGroups), t % bGroups];
    const a = component(`a${Math.floor(i / rows)}`, rows, i % rows);
    return `c${i}_${j} = fma(${tb}(${a}), b${j}, c${i}_${j});`;
  });
  const source = gather
    ? `let sy = i32(y * p.stride) + ty;
let sx = i32(x * p.stride) + tx;
let inside = (u32(sy) < p.inH) & (u32(sx) < p.inW);
let ra = select(0u, ((image + u32(sy)) * p.inW + u32(sx)) * iv, inside);
${repeat(aGroups, (g) => `let a${g} = select(${ta}(0.0), a[ra + ca${g}], inside);`)}
let newRow = x + 1u == p.outW;
let newImage = newRow & (y + 1u == p.outH);
x = select(x + 1u, 0u, newRow);
y = select(select(y, y + 1u, newRow), 0u, newImage);
image = select(image, image + p.inH, newImage);`
    : `let ra = m * iv;\n${repeat(aGroups, (g) => `let a${g} = a[ra + ca${g}];`)}`;
  const sums = tileM * bGroups;
  const store = o.compact
    ? `var sums = array<${tb}, ${sums}>(${list(sums, (t) => `c${Math.floor(t / bGroups)}_${t % bGroups}`)});
for (var t = 0u; t < ${sums}u; t++) {
let i = i0 + t / ${bGroups}u;
let j = j0 / ${columns}u + t % ${bGroups}u;
if ((i < p.I) & (j < jv)) { out[slab * p.slabStride + (tap * p.I + i) * jv + j] = sums[t]; }
}`
    : repeat(tileM, (i) =>
        [
          `if (i0 + ${i}u < p.I) { let row = slab * p.slabStride + (tap * p.I + i0 + ${i}u) * jv + j0 / ${columns}u;`,
          repeat(
            bGroups,
            (j) => `if (j0 + ${j * columns}u < p.J) { out[row + ${j}u] = c${i}_${j}; }`,
          ),
          "}",
        ].join("\n"),
      );
  const biasAt = `slab * p.biasStride + i0 / ${rows}u`;
  const storeBias = !o.bias
    ? ""
    : o.compact
      ? `if ((j0 == 0u) & (tap == 0u)) {
var rowSums = array<${ta}, ${aGroups}>(${list(aGroups, (g) => `s${g}`)});
for (var g = 0u; g < ${aGroups}u; g++) {
if (i0 / ${rows}u + g < iv) { outBias[${biasAt} + g] = rowSums[g]; }
}
}`
      : `if (j0 == 0u) {\n${repeat(
          aGroups,
          (g) => `if (i0 + ${g * rows}u < p.I) { outBias[${biasAt} + ${g}u] = s${g}; }`,
        )}\n}`;
  return kernel(
    {
      key: `weightGrad/${gather}/${o.bias}/${tileM}x${tileN}/${rows}${columns}${o.compact ? "/compact" : ""}`,
      params: [
        ...["M", "I", "J", "rowsPerSlab", "slabStride", "biasStride"],
        ...["inH", "inW", "outH", "outW", "stride", "dilation", "taps"],
      ],
      reads: [
        ["a", ta],
        ["b", tb],
      ],
      writes: [["out", tb], ...(o.bias ? [["outBias", ta] as const] : [])],
      body: `let jTiles = (p.J + ${tileN - 1}u) / ${tileN}u;
let iTiles = (p.I + ${tileM - 1}u) / ${tileM}u;
let j0 = (id % jTiles) * ${tileN}u;
let i0 = (id / jTiles % iTiles) * ${tileM}u;
let tap = id / (jTiles * iTiles) % p.taps;
let slab = id / (jTiles * iTiles * p.taps);
let ty = i32(tap / 3u) * i32(p.dilation) - i32(p.dilation);
let tx = i32(tap % 3u) * i32(p.dilation) - i32(p.dilation);
let iv = ${iv};
let jv = ${jv};
${repeat(aGroups, (g) => `let ca${g} = min(i0 / ${rows}u + ${g}u, iv - 1u);`)}
${repeat(bGroups, (j) => `let cb${j} = min(j0 / ${columns}u + ${j}u, jv - 1u);`)}
${repeat(tileM * bGroups, (t) => `var c${Math.floor(t / bGroups)}_${t % bGroups} = ${tb}(0.0);`)}
${o.bias ? repeat(aGroups, (g) => `var s${g} = ${ta}(0.0);`) : ""}
let first = slab * p.rowsPerSlab;
let last = min(first + p.rowsPerSlab, p.M);
${
  gather
    ? `var x = first % p.outW;
var y = first / p.outW % p.outH;
var image = first / (p.outW * p.outH) * p.inH;`
    : ""
}
for (var m = first; m < last; m++) {
${source}
let rb = m * jv;
${repeat(bGroups, (j) => `let b${j} = b[rb + cb${j}];`)}
${updates}
${o.bias ? repeat(aGroups, (g) => `s${g} += a${g};`) : ""}
}
${store}
${storeBias}`,
    },
    o.workgroup,
  );
});
