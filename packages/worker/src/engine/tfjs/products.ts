/**
 * Products on TF.js: linear layers, dense and depthwise 3x3 convolutions, and their gradients.
 * No backend has them all (and none with dilation), so gradients are composed here.
 *
 * The WASM backend's product is fast only untransposed, and it remembers the packed right operand by
 * the tensor's memory alone: never give it one memory in two shapes (`rows` is the one shape).
 */

import * as tf from "@tensorflow/tfjs-core";
import type { TfjsContext } from "./context.ts";
import { type ConvShape, depthwiseFilterGrad, patches } from "./host-convolution.ts";
import { onHost } from "./host-kernels.ts";
import { columnDots, columnSums } from "./host-normalisation.ts";

export interface ConvGeometry {
  readonly stride: 1 | 2;
  readonly dilation: number;
}

/** x [..., K] · wᵀ + bias, w [N, K] → [..., N]. */
export function linear(
  x: tf.Tensor,
  w: tf.Tensor,
  bias: tf.Tensor | undefined,
  context: TfjsContext,
): tf.Tensor {
  // The WASM backend's fast product takes no transposed operand.
  const y = tf.fused.matMul({
    a: rows(x),
    b: context.derived(w, () => tf.transpose(w)) as tf.Tensor2D,
    bias,
  });
  return tf.reshape(y, [...x.shape.slice(0, -1), w.shape[0]]);
}

/** dy [..., N] · w [N, K] → [..., K]. */
export function linearInputGrad(dy: tf.Tensor, w: tf.Tensor): tf.Tensor {
  const dx = tf.matMul(rows(dy), w as tf.Tensor2D);
  return tf.reshape(dx, [...dy.shape.slice(0, -1), w.shape.at(-1) as number]);
}

/** dyᵀ · x → [N, K]. */
export function linearWeightGrad(x: tf.Tensor, dy: tf.Tensor): tf.Tensor {
  const [k, n] = [x.shape.at(-1) as number, dy.shape.at(-1) as number];
  // Transpose the narrower of the two, which is read by columns.
  if (n <= k) return tf.matMul(columns(dy), rows(x));
  return tf.transpose(tf.matMul(columns(x), rows(dy)));
}

/** Sum over all but the last axis: [..., C] → [C]. */
export function columnSum(x: tf.Tensor): tf.Tensor {
  const c = x.shape.at(-1) as number;
  return onHost() ? columnSums([x], [[c]], {})[0] : tf.sum(rows(x), 0);
}

/** Sum of a·b over all but the last axis: [..., C], [..., C] → [C]. */
export function columnDot(a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  const c = a.shape.at(-1) as number;
  return onHost() ? columnDots([a, b], [[c]], {})[0] : tf.sum(rows(tf.mul(a, b)), 0);
}

/** x [B, H, W, Cin] with w [3, 3, Cin, Cout], padded by the dilation. */
export function conv(x: tf.Tensor, w: tf.Tensor, { stride, dilation }: ConvGeometry): tf.Tensor {
  return tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, stride, dilation, "NHWC", dilation);
}

/** dy, spread out by the stride, with the kernel turned by 180° and its channels swapped. */
export function convInputGrad(
  dy: tf.Tensor,
  w: tf.Tensor,
  shape: readonly number[],
  geometry: ConvGeometry,
  context: TfjsContext,
): tf.Tensor {
  const [, , inputs, outputs] = w.shape as [number, number, number, number];
  const swapped = context.derived(w, () => {
    const flipped = tf.reverse(tf.reshape(w, [9, inputs, outputs]), 0);
    return tf.reshape(tf.transpose(flipped, [0, 2, 1]), [3, 3, outputs, inputs]);
  });
  return croppedTo(
    shape,
    tf.conv2d(
      spread(dy, geometry.stride),
      swapped as tf.Tensor4D,
      1,
      geometry.dilation,
      "NHWC",
      geometry.dilation,
    ),
  );
}

/** Column matrix times dy: [9·Cin, M] · [M, Cout] → [3, 3, Cin, Cout]. */
export function convWeightGrad(x: tf.Tensor, dy: tf.Tensor, geometry: ConvGeometry): tf.Tensor {
  const s = convShape(x, dy, geometry);
  const outputs = dy.shape.at(-1) as number;
  const shape = [3, 3, s.channels, outputs];
  if (onHost()) {
    const [matrix] = patches([x], [[9 * s.channels, dy.size / outputs]], s);
    return tf.reshape(tf.matMul(matrix as tf.Tensor2D, rows(dy)), shape);
  }
  const grads = taps(x, s).map((tap) => tf.matMul(rows(tap), rows(dy), true, false));
  return tf.reshape(tf.stack(grads), shape);
}

/** x [B, H, W, C] with w [3, 3, C]. */
export function depthwise(
  x: tf.Tensor,
  w: tf.Tensor,
  { stride, dilation }: ConvGeometry,
): tf.Tensor {
  const filter = tf.expandDims(w, 3) as tf.Tensor4D;
  return tf.depthwiseConv2d(x as tf.Tensor4D, filter, stride, dilation, "NHWC", dilation);
}

/** As convInputGrad, a channel at a time. */
export function depthwiseInputGrad(
  dy: tf.Tensor,
  w: tf.Tensor,
  shape: readonly number[],
  { stride, dilation }: ConvGeometry,
  context: TfjsContext,
): tf.Tensor {
  const c = w.shape[2] as number;
  const flipped = context.derived(w, () =>
    tf.reshape(tf.reverse(tf.reshape(w, [9, c]), 0), [3, 3, c]),
  );
  return croppedTo(shape, depthwise(spread(dy, stride), flipped, { stride: 1, dilation }));
}

/** Σ over positions of tap · dy → [3, 3, C]. */
export function depthwiseWeightGrad(
  x: tf.Tensor,
  dy: tf.Tensor,
  geometry: ConvGeometry,
): tf.Tensor {
  const s = convShape(x, dy, geometry);
  const shape = [3, 3, s.channels];
  if (onHost()) return depthwiseFilterGrad([x, dy], [shape], s)[0];
  return tf.reshape(tf.stack(taps(x, s).map((tap) => columnDot(tap, dy))), shape);
}

/** [..., C] → [M, C]. */
export function rows(x: tf.Tensor): tf.Tensor2D {
  const c = x.shape.at(-1) as number;
  return tf.reshape(x, [x.size / c, c]);
}

/** [..., C] → [C, M]; in three dimensions, whose transposition is the fast one on WASM. */
export function columns(x: tf.Tensor): tf.Tensor2D {
  const c = x.shape.at(-1) as number;
  const m = x.size / c;
  const outer = divisorNearRoot(m);
  return tf.reshape(tf.transpose(tf.reshape(x, [outer, m / outer, c]), [2, 0, 1]), [c, m]);
}

function convShape(x: tf.Tensor, dy: tf.Tensor, { stride, dilation }: ConvGeometry): ConvShape {
  const [batch, height, width, channels] = x.shape as [number, number, number, number];
  const [, outHeight, outWidth] = dy.shape as [number, number, number, number];
  return { batch, height, width, channels, outHeight, outWidth, stride, dilation };
}

/** The nine inputs that the taps of a kernel see, each [B, H', W', C]. */
function taps(x: tf.Tensor, s: ConvShape): tf.Tensor[] {
  const { dilation: d, stride, outHeight, outWidth } = s;
  const padded = tf.pad(x, [
    [0, 0],
    [d, d + stride - 1],
    [d, d + stride - 1],
    [0, 0],
  ]);
  return Array.from({ length: 9 }, (_, tap) => {
    const [y, at] = [Math.floor(tap / 3) * d, (tap % 3) * d];
    const end = [s.batch, y + outHeight * stride, at + outWidth * stride, s.channels];
    const part = tf.slice(padded, [0, y, at, 0], [s.batch, end[1] - y, end[2] - at, s.channels]);
    return stride === 1 ? part : everyOther(part);
  });
}

/** [B, 2h, 2w, C] → the even rows and columns, [B, h, w, C]. */
function everyOther(x: tf.Tensor): tf.Tensor {
  const [b, h, w, c] = x.shape as [number, number, number, number];
  const evenRows = tf.slice(tf.reshape(x, [b, h / 2, 2 * w * c]), [0, 0, 0], [b, h / 2, w * c]);
  const evenColumns = tf.slice(
    tf.reshape(evenRows, [b * (h / 2), w / 2, 2 * c]),
    [0, 0, 0],
    [b * (h / 2), w / 2, c],
  );
  return tf.reshape(evenColumns, [b, h / 2, w / 2, c]);
}

/** [B, h, w, C] → [B, 2h, 2w, C], zeros behind each element: padding the next inner extent. */
function spread(dy: tf.Tensor, stride: 1 | 2): tf.Tensor4D {
  if (stride === 1) return dy as tf.Tensor4D;
  const [b, h, w, c] = dy.shape as [number, number, number, number];
  const wide = tf.pad(tf.reshape(dy, [b * h, w, c]), [
    [0, 0],
    [0, 0],
    [0, c],
  ]);
  const tall = tf.pad(tf.reshape(wide, [b, h, 2 * w * c]), [
    [0, 0],
    [0, 0],
    [0, 2 * w * c],
  ]);
  return tf.reshape(tall, [b, 2 * h, 2 * w, c]);
}

function croppedTo(shape: readonly number[], x: tf.Tensor): tf.Tensor {
  if (x.shape.every((n, axis) => n === shape[axis])) return x;
  return tf.slice(x, [0, 0, 0, 0], [...shape]);
}

function divisorNearRoot(n: number): number {
  for (let d = Math.floor(Math.sqrt(n)); d > 1; d--) if (n % d === 0) return d;
  return 1;
}
