/**
 * One matrix product for a compiler that takes long over each load and store (SwiftShader): linear
 * layers, dense 3x3 convolutions and the input gradients of both are one text, told apart by parameters.
 */

import { type Kernel, kernel, list, remembered, repeat } from "../kernel.ts";

export interface CompactProductOptions {
  readonly tileM: number;
  readonly tileN: number;
  readonly workgroup: number;
}

/**
 * y[m, n] = Σ_tap Σ_k a[source(m, tap), k]·b[tap·N·K + k·strideK + n·strideN], plus bias[n] where `biased`.
 * Row m is pixel (x, y) of images [B, outH, outW]; its source is pixel ((x, y)·up + tap's offset) >> `shift`
 * of images [B, inH, inW], where that is whole and inside. An input gradient is a convolution with its
 * taps read backwards (`flip`), up 1 and shift stride - 1.
 */
export const compactProductKernel = remembered((o: CompactProductOptions): Kernel => {
  const { tileM, tileN } = o;
  const cells = tileM * tileN;
  const cell = (t: number) => `c${Math.floor(t / tileN)}_${t % tileN}`;
  return kernel(
    {
      key: `product/compact/${tileM}x${tileN}`,
      params: [
        ...["M", "N", "K", "inH", "inW", "outH", "outW", "up", "shift", "dilation", "taps"],
        ...["flip", "strideK", "strideN", "biased"],
      ],
      reads: ["a", "b", "bias"].map((name) => [name, "f32"] as const),
      writes: [["y", "f32"]],
      // Columns past the end read the last ones; nothing is stored for them.
      body: `let tiles = (p.N + ${tileN - 1}u) / ${tileN}u;
let m0 = (id / tiles) * ${tileM}u;
let n0 = (id % tiles) * ${tileN}u;
${repeat(tileN, (j) => `let cb${j} = min(n0 + ${j}u, p.N - 1u) * p.strideN;`)}
${repeat(cells, (t) => `var ${cell(t)} = 0.0;`)}
var starts: array<u32, ${tileM}>;
var insides: array<u32, ${tileM}>;
for (var tap = 0u; tap < p.taps; tap++) {
let ty = i32(tap / 3u) * i32(p.dilation) - i32(p.dilation);
let tx = i32(tap % 3u) * i32(p.dilation) - i32(p.dilation);
for (var i = 0u; i < ${tileM}u; i++) {
let pix = min(m0 + i, p.M - 1u);
let row = pix / p.outW;
let image = row / p.outH;
let uy = i32((row - image * p.outH) * p.up) + ty;
let ux = i32((pix - row * p.outW) * p.up) + tx;
let sy = u32(uy >> p.shift);
let sx = u32(ux >> p.shift);
let inside = ((u32(uy | ux) & p.shift) == 0u) & (sy < p.inH) & (sx < p.inW);
insides[i] = select(0u, 1u, inside);
starts[i] = select(0u, ((image * p.inH + sy) * p.inW + sx) * p.K, inside);
}
${repeat(tileM, (i) => `let in${i} = insides[${i}] > 0u;\nlet ra${i} = starts[${i}];`)}
var rb = select(tap, p.taps - 1u - tap, p.flip > 0u) * p.N * p.K;
for (var k = 0u; k < p.K; k++) {
${repeat(tileM, (i) => `let a${i} = select(0.0, a[ra${i} + k], in${i});`)}
${repeat(tileN, (j) => `let b${j} = b[rb + cb${j}];`)}
${repeat(cells, (t) => `${cell(t)} = fma(a${Math.floor(t / tileN)}, b${t % tileN}, ${cell(t)});`)}
rb += p.strideK;
}
}
var sums = array<f32, ${cells}>(${list(cells, cell)});
for (var t = 0u; t < ${cells}u; t++) {
let row = m0 + t / ${tileN}u;
let col = n0 + t % ${tileN}u;
if ((row < p.M) & (col < p.N)) {
y[row * p.N + col] = sums[t] + select(0.0, bias[col], p.biased > 0u);
}
}`,
    },
    o.workgroup,
  );
});
