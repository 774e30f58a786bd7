/** Sequences on TF.js: unfold and fold, attention and its gradient. */

import * as tf from "@tensorflow/tfjs-core";
import { type AttentionShape, hostAttention, hostAttentionGrad } from "./host-attention.ts";
import { onHost } from "./host-kernels.ts";

/** [B, H, W, C] → [4B, (H/2)(W/2), C]: rows of a patch apart, then its columns. */
export function unfold(x: tf.Tensor): tf.Tensor {
  const [b, h, w, c] = x.shape as [number, number, number, number];
  const n = (h / 2) * (w / 2);
  const byRow = tf.transpose(tf.reshape(x, [b, h / 2, 2, w * c]), [0, 2, 1, 3]);
  const byColumn = tf.transpose(tf.reshape(byRow, [2 * b, n, 2, c]), [0, 2, 1, 3]);
  return tf.reshape(byColumn, [4 * b, n, c]);
}

/** [4B, (H/2)(W/2), C] → [B, H, W, C]. */
export function fold(x: tf.Tensor, shape: readonly number[]): tf.Tensor {
  const [b, h, w, c] = shape;
  const n = (h / 2) * (w / 2);
  const byRow = tf.transpose(tf.reshape(x, [2 * b, 2, n, c]), [0, 2, 1, 3]);
  const whole = tf.transpose(tf.reshape(byRow, [b, 2, h / 2, w * c]), [0, 2, 1, 3]);
  return tf.reshape(whole, [...shape]);
}

/** qkv [S, N, 3d] → y [S, N, d], logSumExp [S, heads, N]. */
export function attention(qkv: tf.Tensor, heads: number) {
  if (onHost()) {
    const { sequences: n, positions, headDim } = attentionShape(qkv, heads);
    const shapes = [
      [n, positions, heads * headDim],
      [n, heads, positions],
    ];
    const [y, logSumExp] = hostAttention([qkv], shapes, attentionShape(qkv, heads));
    return { y, logSumExp };
  }
  const { q, k, v } = queriesKeysValues(qkv, heads);
  const scores = scaledScores(q, k); // [S, heads, N, N]
  const most = tf.max(scores, -1, true);
  const exponentials = tf.exp(tf.sub(scores, most));
  const sums = tf.sum(exponentials, -1, true); // [S, heads, N, 1]
  const y = merged([tf.div(tf.matMul(exponentials, v), sums)]);
  return { y, logSumExp: tf.squeeze(tf.add(most, tf.log(sums)), [3]) };
}

/** dqkv [S, N, 3d]; probabilities are recomputed from logSumExp. */
export function attentionGrad(
  qkv: tf.Tensor,
  y: tf.Tensor,
  logSumExp: tf.Tensor,
  dy: tf.Tensor,
  heads: number,
): tf.Tensor {
  if (onHost()) {
    const inputs = [qkv, y, logSumExp, dy];
    return hostAttentionGrad(inputs, [qkv.shape], attentionShape(qkv, heads))[0];
  }
  const { q, k, v } = queriesKeysValues(qkv, heads);
  const d = dy.shape.at(-1) as number;
  const scale = (d / heads) ** -0.5;
  const probabilities = tf.exp(tf.sub(scaledScores(q, k), tf.expandDims(logSumExp, -1)));
  const dyHeads = headsOf(dy, 0, d, heads);
  const dv = tf.matMul(probabilities, dyHeads, true, false);
  const dProbabilities = tf.matMul(dyHeads, v, false, true);
  const yHeads = headsOf(y, 0, d, heads);
  const rowDots = tf.sum(tf.mul(dyHeads, yHeads), -1, true); // [S, heads, N, 1]
  const dScores = tf.mul(tf.mul(probabilities, tf.sub(dProbabilities, rowDots)), scale);
  const dq = tf.matMul(dScores, k);
  const dk = tf.matMul(dScores, q, true, false);
  return merged([dq, dk, dv]);
}

function scaledScores(q: tf.Tensor, k: tf.Tensor): tf.Tensor {
  return tf.mul(tf.matMul(q, k, false, true), (q.shape.at(-1) as number) ** -0.5);
}

function attentionShape(qkv: tf.Tensor, heads: number): AttentionShape {
  const [sequences, positions, channels] = qkv.shape as [number, number, number];
  return { sequences, positions, heads, headDim: channels / 3 / heads };
}

function queriesKeysValues(qkv: tf.Tensor, heads: number) {
  const d = (qkv.shape.at(-1) as number) / 3;
  const part = (i: number) => headsOf(qkv, i * d, d, heads);
  return { q: part(0), k: part(1), v: part(2) };
}

/** Channels start … start + d of [S, N, …] as [S, heads, N, d/heads]. */
function headsOf(x: tf.Tensor, start: number, d: number, heads: number): tf.Tensor {
  const [sequences, positions, rowChannels] = x.shape as [number, number, number];
  const headDim = d / heads;
  const part = d === rowChannels ? x : tf.slice(x, [0, 0, start], [sequences, positions, d]);
  return tf.transpose(tf.reshape(part, [sequences, positions, heads, headDim]), [0, 2, 1, 3]);
}

/** Tensors [S, heads, N, hd] as [S, N, parts·heads·hd]. */
function merged(parts: readonly tf.Tensor[]): tf.Tensor {
  const [sequences, heads, positions, headDim] = parts[0].shape as [number, number, number, number];
  const d = heads * headDim;
  const flat = parts.map((part) =>
    tf.reshape(tf.transpose(part, [0, 2, 1, 3]), [sequences, positions, d]),
  );
  return flat.length === 1 ? flat[0] : tf.concat(flat, -1);
}
