/**
 * Attention without stored probabilities: row maxima and sums are kept as one logarithm, and
 * probabilities are computed again from it in the gradient. qkv is [S, N, 3d], q|k|v, head-major.
 */

import { type Kernel, kernel, repeat, vector, type Width } from "../kernel.ts";

export interface AttentionOptions {
  /** Vectors of `width` channels that an invocation keeps of a head, in registers. */
  readonly vectors: number;
  readonly width: Width;
  /** Heads may have fewer vectors (`n`): the others count as zeros. One kernel then serves a whole model. */
  readonly padded: boolean;
  readonly workgroup: number;
}

/** Parameters of every attention kernel; `n` is a head's vectors. */
export const ATTENTION_PARAMS = ["N", "heads", "n", "scale:f32"] as const;

/** y = softmax(q·k·scale)·v for one query an invocation, and the row's log of the sum of exps. */
export function attentionKernel(o: AttentionOptions): Kernel {
  const { t, n, place, load, own, store } = parts(o);
  return kernel(
    {
      key: `attention/${form(o)}/${o.vectors}/${o.width}`,
      params: ATTENTION_PARAMS,
      reads: [["qkv", t]],
      writes: [
        ["y", t],
        ["logSumExp", "f32"],
      ],
      body: `${place}
let rowAt = (s * p.N + i) * dv;
${own("q", "qkv", "rowAt * 3u + h", "p.scale")}
${repeat(n, (c) => `var o${c} = ${t}(0.0);`)}
var top = -3.0e38;
var total = 0.0;
for (var j = 0u; j < p.N; j++) {
let at = (s * p.N + j) * dv * 3u + h;
${load("k", "qkv", "at + dv")}
let score = ${dot(o, "q", "k")};
let peak = max(top, score);
let keep = exp(top - peak);
let e = exp(score - peak);
top = peak;
total = fma(total, keep, e);
${load("v", "qkv", "at + 2u * dv")}
${repeat(n, (c) => `o${c} = fma(${t}(e), v${c}, o${c} * keep);`)}
}
let norm = 1.0 / total;
${store("o", "y", "rowAt + h", "norm")}
logSumExp[id] = top + log(total);`,
    },
    o.workgroup,
  );
}

/** dq of one query an invocation; also delta = dy·y, which the other half needs. */
export function attentionQueryGradKernel(o: AttentionOptions): Kernel {
  const { t, n, place, load, own, store } = parts(o);
  return kernel(
    {
      key: `attentionQueryGrad/${form(o)}/${o.vectors}/${o.width}`,
      params: ATTENTION_PARAMS,
      reads: [
        ["qkv", t],
        ["y", t],
        ["logSumExp", "f32"],
        ["dy", t],
      ],
      writes: [
        ["dqkv", t],
        ["delta", "f32"],
      ],
      body: `${place}
let rowAt = (s * p.N + i) * dv;
${own("q", "qkv", "rowAt * 3u + h", "p.scale")}
${own("g", "dy", "rowAt + h")}
var d = 0.0;
for (var c = 0u; c < p.n; c++) { d += ${o.width === 1 ? "y[rowAt + h + c] * dy[rowAt + h + c]" : "dot(y[rowAt + h + c], dy[rowAt + h + c])"}; }
delta[id] = d;
let norm = logSumExp[id];
${repeat(n, (c) => `var o${c} = ${t}(0.0);`)}
for (var j = 0u; j < p.N; j++) {
let at = (s * p.N + j) * dv * 3u + h;
${load("k", "qkv", "at + dv")}
${load("v", "qkv", "at + 2u * dv")}
let probability = exp(${dot(o, "q", "k")} - norm);
let ds = probability * (${dot(o, "g", "v")} - d) * p.scale;
${repeat(n, (c) => `o${c} = fma(${t}(ds), k${c}, o${c});`)}
}
${store("o", "dqkv", "rowAt * 3u + h")}`,
    },
    o.workgroup,
  );
}

/** dk and dv of one key an invocation. */
export function attentionKeyGradKernel(o: AttentionOptions): Kernel {
  const { t, n, place, load, own, store } = parts(o);
  return kernel(
    {
      key: `attentionKeyGrad/${form(o)}/${o.vectors}/${o.width}`,
      params: ATTENTION_PARAMS,
      reads: [
        ["qkv", t],
        ["logSumExp", "f32"],
        ["dy", t],
        ["delta", "f32"],
      ],
      writes: [["dqkv", t]],
      body: `${place}
let rowAt = (s * p.N + i) * dv;
${own("k", "qkv", "rowAt * 3u + dv + h", "p.scale")}
${own("v", "qkv", "rowAt * 3u + 2u * dv + h")}
${repeat(n, (c) => `var dk${c} = ${t}(0.0);\nvar dv${c} = ${t}(0.0);`)}
let rows = (s * p.heads + head) * p.N;
for (var j = 0u; j < p.N; j++) {
let at = (s * p.N + j) * dv;
${load("q", "qkv", "at * 3u + h")}
${load("g", "dy", "at + h")}
let probability = exp(${dot(o, "q", "k")} - logSumExp[rows + j]);
let ds = probability * (${dot(o, "g", "v")} - delta[rows + j]) * p.scale;
${repeat(n, (c) => `dv${c} = fma(${t}(probability), g${c}, dv${c});\ndk${c} = fma(${t}(ds), q${c}, dk${c});`)}
}
${store("dk", "dqkv", "rowAt * 3u + dv + h")}
${store("dv", "dqkv", "rowAt * 3u + 2u * dv + h")}`,
    },
    o.workgroup,
  );
}

/** What the three kernels share: id is (sequence, head, row), as in logSumExp [S, heads, N]. */
function parts(o: AttentionOptions) {
  const t = vector(o.width);
  const n = o.vectors;
  const scaled = (scale?: string) => (scale ? ` * ${scale}` : "");
  const load = (name: string, from: string, at: string, scale?: string) =>
    repeat(n, (c) => `let ${name}${c} = ${from}[${at} + ${c}u]${scaled(scale)};`);
  /** The invocation's own row: zeros past the head's vectors. */
  const own = (name: string, from: string, at: string, scale?: string) => {
    if (!o.padded) return load(name, from, at, scale);
    return repeat(
      n,
      (c) =>
        `let ${name}${c} = select(${t}(0.0), ${from}[${at} + ${c}u]${scaled(scale)}, ${c}u < p.n);`,
    );
  };
  /** Writes the vectors `name`, times `scale`. */
  const store = (name: string, to: string, at: string, scale?: string) => {
    return repeat(n, (c) => {
      const text = `${to}[${at} + ${c}u] = ${name}${c}${scaled(scale)};`;
      return o.padded ? `if (${c}u < p.n) { ${text} }` : text;
    });
  };
  return {
    ...{ t, n, own, store },
    place: `let i = id % p.N;
let head = id / p.N % p.heads;
let s = id / (p.N * p.heads);
let dv = p.heads * p.n;
let h = head * p.n;`,
    /** Vectors past the head's own are its neighbour's: in each product the other side is zero there. */
    load,
  };
}

function form({ padded }: AttentionOptions): string {
  return padded ? "padded" : "whole";
}

/** The product of two head vectors held as `a0 … an` and `b0 … bn`, as one number. */
function dot(o: AttentionOptions, a: string, b: string): string {
  const t = vector(o.width);
  let sum = `${a}0 * ${b}0`;
  for (let c = 1; c < o.vectors; c++) sum = `fma(${a}${c}, ${b}${c}, ${sum})`;
  if (o.width === 1) return `(${sum})`;
  return `dot(${sum}, ${t}(1.0))`;
}
