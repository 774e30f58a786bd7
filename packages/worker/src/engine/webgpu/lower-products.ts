/** Lowers products and convolutions to dispatches. */

import type { Operation, ValueId } from "../graph.ts";
import type { Width } from "./kernel.ts";
import {
  depthwiseKernel,
  depthwiseStridedInputGradKernel,
  depthwiseWeightGradKernel,
} from "./kernels/depthwise.ts";
import {
  depthwiseDilatedKernel,
  depthwiseDilatedWeightGradKernel,
} from "./kernels/depthwise-dilated.ts";
import { productKernel } from "./kernels/product.ts";
import { compactProductKernel } from "./kernels/product-compact.ts";
import { weightGradKernel } from "./kernels/weight-grad.ts";
import type { Lowering } from "./lowering.ts";

type Of<K extends Operation["op"]> = Extract<Operation, { op: K }>;

/** Rows and channels of a value seen as a matrix. */
function matrix(l: Lowering, id: ValueId): { rows: number; channels: number } {
  const shape = l.shape(id);
  const channels = shape.at(-1) as number;
  return { rows: shape.slice(0, -1).reduce((a, b) => a * b, 1), channels };
}

const narrow = (l: Lowering, n: number): Width => (l.width(n) === 4 ? 4 : 1);

/** Where loads are not vectors (the stem, an odd number of classes) large tiles are much code for little work. */
const tileOf = ({ options }: Lowering, tile: number, ...widths: readonly Width[]) =>
  !options.compact && widths.includes(1) ? Math.min(4, tile) : tile;

/** inH, inW, outH, outW, stride, dilation and taps of a convolution. */
type Geometry = readonly [number, number, number, number, number, number, number];

/** A linear layer is a convolution with one tap, of one long row. */
const flat = (rows: number): Geometry => [1, rows, 1, rows, 1, 0, 1];

/** y = x·wᵀ + bias. */
export function lowerLinear(l: Lowering, o: Of<"linear">): void {
  const { rows: m, channels: k } = matrix(l, o.x);
  const n = l.shape(o.y).at(-1) as number;
  lowerProduct(l, { form: "dot", a: o.x, w: o.w, bias: o.bias, y: o.y, m, n, k });
}

/** dx = dy·w. */
export function lowerLinearInputGrad(l: Lowering, o: Of<"linearInputGrad">): void {
  const { rows: m, channels: k } = matrix(l, o.dy);
  const n = l.shape(o.dx).at(-1) as number;
  lowerProduct(l, { form: "outer", a: o.dy, w: o.w, y: o.dx, m, n, k });
}

/** Dense 3x3, forward. */
export function lowerConv(l: Lowering, o: Of<"conv">): void {
  lowerGathered(l, "outer", o.x, o.w, o.y, o);
}

/** Its input gradient: the same product with taps read backwards. */
export function lowerConvInputGrad(l: Lowering, o: Of<"convInputGrad">): void {
  lowerGathered(l, "dot", o.dy, o.w, o.dx, o);
}

function lowerGathered(
  l: Lowering,
  form: "dot" | "outer",
  a: ValueId,
  w: ValueId,
  y: ValueId,
  { stride, dilation }: Of<"conv"> | Of<"convInputGrad">,
): void {
  const [, inH, inW, k] = l.shape(a);
  const [batch, outH, outW, n] = l.shape(y);
  const geometry: Geometry = [inH, inW, outH, outW, stride, dilation, 9];
  lowerProduct(l, { form, a, w, y, m: batch * outH * outW, n, k, geometry });
}

interface Product {
  readonly form: "dot" | "outer";
  readonly a: ValueId;
  readonly w: ValueId;
  readonly bias?: ValueId;
  readonly y: ValueId;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Of a convolution. */
  readonly geometry?: Geometry;
}

function lowerProduct(l: Lowering, product: Product): void {
  if (l.options.compact) return lowerCompactProduct(l, product);
  const { form, a, w, y, m, n, k, geometry, ...o } = product;
  const { workgroup } = l.options;
  const [reduce, columns] = [narrow(l, k), narrow(l, n)];
  const tileM = tileOf(l, l.options.tileM, reduce, columns);
  const tileN = tileOf(l, l.options.tileN, columns);
  const gather = form === "outer" ? "conv" : "convInputGrad";
  // Without a bias one is bound all the same, and not added: one kernel for both.
  const bias = form === "dot" && geometry === undefined;
  const kernel = productKernel({
    ...{ form, gather: geometry === undefined ? "none" : gather, bias },
    ...{ tileM, tileN, reduce, columns, workgroup },
  });
  const taps = geometry?.at(-1) ?? 1;
  l.emit(
    kernel,
    [
      ...[Math.ceil(m / tileM) * Math.ceil(n / tileN), m, n, k, ...(geometry ?? flat(m))],
      ...(bias ? [o.bias === undefined ? 0 : 1] : []),
    ],
    [a, w, ...(bias ? [o.bias ?? w] : []), y].map((value) => ({ value })),
    m * n * k * taps,
  );
}

/** The same with the one kernel for all products. */
function lowerCompactProduct(l: Lowering, { form, a, w, y, m, n, k, ...o }: Product): void {
  const { tileM, tileN, workgroup } = l.options;
  const [inH, inW, outH, outW, stride, dilation, taps] = o.geometry ?? flat(m);
  const outer = form === "outer";
  const [up, shift, flip] = outer ? [stride, 0, 0] : [1, stride - 1, 1];
  const [strideK, strideN] = outer ? [n, 1] : [1, k];
  l.emit(
    compactProductKernel({ tileM, tileN, workgroup }),
    [
      ...[Math.ceil(m / tileM) * Math.ceil(n / tileN), m, n, k, inH, inW, outH, outW],
      ...[up, shift, dilation, taps, flip, strideK, strideN, o.bias === undefined ? 0 : 1],
    ],
    [a, w, o.bias ?? w, y].map((value) => ({ value })),
    m * n * k * taps,
  );
}

/** dw[n, k] = Σ dy[m, n]·x[m, k], dbias[n] = Σ dy[m, n]. */
export function lowerLinearWeightGrad(l: Lowering, o: Of<"linearWeightGrad">): void {
  const { rows: m, channels: j } = matrix(l, o.x);
  const { channels: i } = matrix(l, o.dy);
  lowerWeightGrad(l, { a: o.dy, b: o.x, dw: o.dw, dbias: o.dbias, m, i, j });
}

/** dw[tap, ci, co] = Σ x[pixel(m, tap), ci]·dy[m, co]. */
export function lowerConvWeightGrad(l: Lowering, o: Of<"convWeightGrad">): void {
  const [, inH, inW, i] = l.shape(o.x);
  const [batch, outH, outW, j] = l.shape(o.dy);
  const geometry: Geometry = [inH, inW, outH, outW, o.stride, o.dilation, 9];
  lowerWeightGrad(l, { a: o.x, b: o.dy, dw: o.dw, m: batch * outH * outW, i, j, geometry });
}

interface WeightGrad {
  readonly a: ValueId;
  readonly b: ValueId;
  readonly dw: ValueId;
  readonly dbias?: ValueId;
  /** Rows, channels of a and channels of b. */
  readonly m: number;
  readonly i: number;
  readonly j: number;
  readonly geometry?: Geometry;
}

function lowerWeightGrad(l: Lowering, g: WeightGrad): void {
  const { gradTileM, gradTileN, workgroup, compact } = l.options;
  const taps = g.geometry?.at(-1) ?? 1;
  const [rows, columns] = [narrow(l, g.i), narrow(l, g.j)];
  const tileM = tileOf(l, gradTileM, rows, columns);
  const tileN = tileOf(l, gradTileN, columns);
  // A bias's gradient is summed even where there is none, into scratch: one kernel for both.
  const bias = g.geometry === undefined || compact;
  const tiles = Math.ceil(g.i / tileM) * Math.ceil(g.j / tileN) * taps;
  const { rowsPerSlab, slabs } = l.cut(g.m, tiles, 16);
  const kernel = weightGradKernel({
    ...{ gather: g.geometry !== undefined || compact, bias, compact },
    ...{ tileM, tileN, rows, columns, workgroup },
  });
  const weight = l.slabs(g.dw, slabs);
  const biases = () =>
    g.dbias === undefined
      ? { binding: l.scratch(0, slabs * g.i), stride: g.i }
      : l.slabs(g.dbias, slabs);
  const offset = bias ? biases() : undefined;
  l.emit(
    kernel,
    [
      ...[tiles * slabs, g.m, g.i, g.j, rowsPerSlab],
      ...[weight.stride / columns, (offset?.stride ?? 0) / rows],
      ...(g.geometry ?? flat(g.m)),
    ],
    [{ value: g.a }, { value: g.b }, weight.binding, ...(offset ? [offset.binding] : [])],
    g.m * g.i * g.j * taps,
  );
}

/** Depthwise 3x3, forward and (stride 1: taps backwards) input gradient. */
export function lowerDepthwise(l: Lowering, o: Of<"depthwise"> | Of<"depthwiseInputGrad">): void {
  const forward = o.op === "depthwise";
  const [source, result] = forward ? [o.x, o.y] : [o.dy, o.dx];
  const [batch, inH, inW, channels] = l.shape(forward ? source : result);
  const [, outH, outW] = l.shape(forward ? result : source);
  const { workgroup, depthwiseRows } = l.options;
  const { stride, dilation } = o;
  // A strided input gradient computes columns in pairs.
  const columns = Math.max(l.options.depthwiseColumns, forward || stride === 1 ? 1 : 2);
  const width = l.width(channels);
  const [height, across] = forward ? [outH, outW] : [inH, inW];
  const rows = Math.min(depthwiseRows, 2 * Math.ceil(height / 2));
  const shared = { width, stride, columns, workgroup };
  const bindings = [{ value: source }, { value: o.w }, { value: result }];
  const geometry = [channels, batch, inH, inW, outH, outW, dilation, rows];
  const vectors = channels / width;
  const work = batch * height * across * channels * 9;
  if (dilation !== 1) {
    const kernel = depthwiseDilatedKernel({ ...shared, grad: !forward });
    l.emit(kernel, [batch * height * across * vectors, ...geometry], bindings, work);
    return;
  }
  const strips = batch * Math.ceil(height / rows) * Math.ceil(across / columns);
  const params = [strips * vectors, ...geometry];
  if (forward || stride === 1)
    l.emit(depthwiseKernel(shared), [...params, forward ? 0 : 1], bindings, work);
  else l.emit(depthwiseStridedInputGradKernel(shared), params, bindings, work);
}

/** dw[tap, c], over slabs of strips (dilated: of pixels). */
export function lowerDepthwiseWeightGrad(l: Lowering, o: Of<"depthwiseWeightGrad">): void {
  const [batch, inH, inW, channels] = l.shape(o.x);
  const [, outH, outW] = l.shape(o.dy);
  const { workgroup, depthwiseRows, depthwiseColumns: columns } = l.options;
  const { stride, dilation } = o;
  const width = l.width(channels);
  const vectors = channels / width;
  const rows = Math.min(depthwiseRows, outH);
  const dilated = dilation !== 1;
  const parts = dilated
    ? batch * outH * outW
    : batch * Math.ceil(outH / rows) * Math.ceil(outW / columns);
  const { rowsPerSlab, slabs } = l.cut(parts, vectors, dilated ? 32 : 1);
  const weight = l.slabs(o.dw, slabs);
  l.emit(
    dilated
      ? depthwiseDilatedWeightGradKernel({ width, stride, workgroup })
      : depthwiseWeightGradKernel({ width, stride, columns, workgroup }),
    [
      ...[slabs * vectors * (dilated ? 9 : 1), channels, batch, inH, inW, outH, outW, dilation],
      ...[rows, rowsPerSlab, weight.stride / width],
    ],
    [{ value: o.x }, { value: o.dy }, weight.binding],
    batch * outH * outW * channels * 9,
  );
}
