/**
 * Bilinear resizing on TF.js as two products with constant matrices, because TF.js's own gradient
 * ignores half-pixel centres (SPEC section 12). The gradient is the same with both transposed.
 */

import * as tf from "@tensorflow/tfjs-core";
import type { TfjsContext } from "./context.ts";

/** [B, h, w, C] → [B, H, W, C]; half-pixel centres, edges clamped, no antialias. */
export function resize(x: tf.Tensor, shape: readonly number[], context: TfjsContext): tf.Tensor {
  const [, h, w] = x.shape;
  return along(x, interpolation(shape[1], h, context), interpolation(shape[2], w, context), shape);
}

/** dy [B, H, W, C] → dx [B, h, w, C]. */
export function resizeGrad(
  dy: tf.Tensor,
  shape: readonly number[],
  context: TfjsContext,
): tf.Tensor {
  const [, h, w] = dy.shape;
  return along(
    dy,
    tf.transpose(interpolation(h, shape[1], context)),
    tf.transpose(interpolation(w, shape[2], context)),
    shape,
  );
}

function along(
  x: tf.Tensor,
  vertical: tf.Tensor,
  horizontal: tf.Tensor,
  [b, h, w, c]: readonly number[],
): tf.Tensor {
  const [, fromH, fromW] = x.shape as [number, number, number, number];
  const tall = tf.matMul(
    tf.tile(tf.reshape(vertical, [1, h, fromH]), [b, 1, 1]),
    tf.reshape(x, [b, fromH, fromW * c]),
  );
  const wide = tf.matMul(
    tf.tile(tf.reshape(horizontal, [1, w, fromW]), [b * h, 1, 1]),
    tf.reshape(tall, [b * h, fromW, c]),
  );
  return tf.reshape(wide, [b, h, w, c]);
}

/** The matrix [to, from] whose rows hold the two weights of each new position. */
function interpolation(to: number, from: number, context: TfjsContext): tf.Tensor {
  return context.constant(`interpolation/${to}/${from}`, () => {
    const matrix = new Float32Array(to * from);
    for (let i = 0; i < to; i++) {
      const at = Math.max(0, ((i + 0.5) * from) / to - 0.5);
      const low = Math.min(Math.floor(at), from - 1);
      const high = Math.min(low + 1, from - 1);
      matrix[i * from + low] += 1 - (at - low);
      matrix[i * from + high] += at - low;
    }
    return tf.tensor2d(matrix, [to, from]);
  });
}
