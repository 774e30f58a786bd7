/**
 * Matrix products in register tiles: linear layers, and dense 3x3 convolutions as nine of them
 * (implicit im2col). One invocation computes tileM rows by tileN columns of the result.
 */

import {
  component,
  type Kernel,
  kernel,
  remembered,
  repeat,
  vector,
  type Width,
} from "../kernel.ts";

export interface ProductOptions {
  /** `dot`: both operands are contiguous along the reduction; `outer`: the second along columns. */
  readonly form: "dot" | "outer";
  /** Which pixel a row reads: its own, that of a 3x3 convolution, or of such one's input gradient. */
  readonly gather: "none" | "conv" | "convInputGrad";
  /** Adds bias[n], where the parameter `biased` is 1. */
  readonly bias: boolean;
  readonly tileM: number;
  readonly tileN: number;
  /** Vector width along the reduction and along columns. */
  readonly reduce: Width;
  readonly columns: Width;
  readonly workgroup: number;
}

/**
 * y[m, n] = Σ_k a[m, k]·b[n, k] (`dot`) or Σ_k a[m, k]·b[k, n] (`outer`), plus bias[n]. With a
 * gather, Σ also runs over nine taps of the pixel m of an image [B, outH, outW], a is an image
 * [B, inH, inW, K], and b has nine slabs. Parameters: M, N, K and the geometry; total is tiles.
 */
export const productKernel = remembered((o: ProductOptions): Kernel => {
  const { tileM, tileN, reduce, columns, gather, form } = o;
  const [ta, tc] = [vector(reduce), vector(columns)];
  const tb = form === "dot" ? ta : tc;
  const groups = Math.ceil(tileN / columns);
  const kv = reduce === 1 ? "p.K" : `(p.K / ${reduce}u)`;
  const nv = columns === 1 ? "p.N" : `(p.N / ${columns}u)`;

  const accumulators =
    form === "dot"
      ? repeat(tileM * tileN, (i) => `var c${Math.floor(i / tileN)}_${i % tileN} = 0.0;`)
      : repeat(tileM * groups, (i) => `var c${Math.floor(i / groups)}_${i % groups} = ${tc}(0.0);`);
  const loadA = repeat(tileM, (i) =>
    gather === "none"
      ? `let a${i} = a[ra${i} + k];`
      : `let a${i} = select(${ta}(0.0), a[ra${i} + k], in${i});`,
  );
  const multiply =
    form === "dot"
      ? repeat(tileN, (j) => `let b${j} = b[rb${j} + k];`) +
        "\n" +
        repeat(tileM * tileN, (t) => {
          const [i, j] = [Math.floor(t / tileN), t % tileN];
          let sum = `c${i}_${j}`;
          for (let q = 0; q < reduce; q++)
            sum = `fma(${component(`a${i}`, reduce, q)}, ${component(`b${j}`, reduce, q)}, ${sum})`;
          return `c${i}_${j} = ${sum};`;
        })
      : repeat(
          reduce,
          (q) =>
            `{ let rb = base + (k * ${reduce}u + ${q}u) * ${nv};\n` +
            repeat(groups, (j) => `let b${j} = b[rb + cb${j}];`) +
            "\n" +
            repeat(tileM * groups, (t) => {
              const [i, j] = [Math.floor(t / groups), t % groups];
              return `c${i}_${j} = fma(${tc}(${component(`a${i}`, reduce, q)}), b${j}, c${i}_${j});`;
            }) +
            "}",
        );
  const reduction = `for (var k = 0u; k < kn; k++) {\n${loadA}\n${multiply}\n}`;
  // Columns past the end read the last ones; nothing is stored for them.
  const columnBases =
    form === "dot"
      ? repeat(tileN, (j) => `let cb${j} = min(n0 + ${j}u, p.N - 1u) * kn;`)
      : repeat(groups, (j) => `let cb${j} = min(n0 / ${columns}u + ${j}u, ${nv} - 1u);`);
  const slab = form === "dot" ? "p.N * kn" : `p.K * ${nv}`;
  const tapBase = `${form === "dot" ? repeat(tileN, (j) => `let rb${j} = base + cb${j};`) : ""}\n`;

  const rows = (text: (i: number) => string) => repeat(tileM, text);
  const walk =
    gather === "none"
      ? `let base = 0u;\n${rows((i) => `let ra${i} = min(m0 + ${i}u, p.M - 1u) * kn;`)}
${tapBase}${reduction}`
      : `${rows(pixel)}
for (var tap = 0u; tap < p.taps; tap++) {
let ty = i32(tap / 3u) * i32(p.dilation) - i32(p.dilation);
let tx = i32(tap % 3u) * i32(p.dilation) - i32(p.dilation);
let base = tap * ${slab};
${rows((i) => source(i, gather))}
${tapBase}${reduction}
}`;

  const value = (i: number, j: number) => {
    if (form === "outer") return `c${i}_${j}`;
    const parts = Array.from({ length: columns }, (_, q) => `c${i}_${j * columns + q}`);
    return columns === 1 ? parts[0] : `${tc}(${parts.join(", ")})`;
  };
  const add = o.bias ? ` + select(${tc}(0.0), bias[col], p.biased > 0u)` : "";
  const store = repeat(groups, (j) =>
    [
      `if (n0 + ${j * columns}u < p.N) { let col = n0 / ${columns}u + ${j}u;`,
      repeat(
        tileM,
        (i) => `if (m0 + ${i}u < p.M) { y[(m0 + ${i}u) * ${nv} + col] = ${value(i, j)}${add}; }`,
      ),
      "}",
    ].join("\n"),
  );

  return kernel(
    {
      key: `product/${form}/${gather}/${o.bias}/${tileM}x${tileN}/${reduce}${columns}`,
      params: [
        ...["M", "N", "K", "inH", "inW", "outH", "outW", "stride", "dilation", "taps"],
        ...(o.bias ? ["biased"] : []),
      ],
      reads: [["a", ta], ["b", tb], ...(o.bias ? [["bias", tc] as const] : [])],
      writes: [["y", tc]],
      body: `let tiles = (p.N + ${tileN - 1}u) / ${tileN}u;
let m0 = (id / tiles) * ${tileM}u;
let n0 = (id % tiles) * ${tileN}u;
let kn = ${kv};
${columnBases}
${accumulators}
${walk}
${store}`,
    },
    o.workgroup,
  );
});

/** Image, row and column of row i of the tile: the next after row i - 1. */
function pixel(i: number): string {
  if (i === 0)
    return `let pix = min(m0, p.M - 1u);
let x0 = i32(pix % p.outW);
let y0 = i32(pix / p.outW % p.outH);
let image0 = pix / (p.outW * p.outH) * p.inH;`;
  const last = i - 1;
  return `let newRow${i} = x${last} + 1 == i32(p.outW);
let newImage${i} = newRow${i} & (y${last} + 1 == i32(p.outH));
let x${i} = select(x${last} + 1, 0, newRow${i});
let y${i} = select(select(y${last}, y${last} + 1, newRow${i}), 0, newImage${i});
let image${i} = select(image${last}, image${last} + p.inH, newImage${i});`;
}

/**
 * Where tap (ty, tx) of row i reads, and whether that is inside. Output o reads input o·stride + t, so
 * input i is read by (i - t) / stride; strides are 1 and 2: a shift divides, also what is negative.
 */
function source(i: number, gather: "conv" | "convInputGrad"): string {
  const conv = gather === "conv";
  const place = conv
    ? `let sy${i} = y${i} * i32(p.stride) + ty;
let sx${i} = x${i} * i32(p.stride) + tx;`
    : `let uy${i} = y${i} - ty;
let ux${i} = x${i} - tx;
let sy${i} = uy${i} >> (p.stride - 1u);
let sx${i} = ux${i} >> (p.stride - 1u);`;
  const whole = conv ? "" : `((u32(uy${i} | ux${i}) & (p.stride - 1u)) == 0u) & `;
  return `${place}
let in${i} = ${whole}(u32(sy${i}) < p.inH) & (u32(sx${i}) < p.inW) & (m0 + ${i}u < p.M);
let ra${i} = select(0u, ((image${i} + u32(sy${i})) * p.inW + u32(sx${i})) * kn, in${i});`;
}
