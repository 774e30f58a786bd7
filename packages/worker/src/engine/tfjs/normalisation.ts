/** Batch and layer normalisation on TF.js, with their gradients (formulas in graph.ts). */

import * as tf from "@tensorflow/tfjs-core";
import type { Activation } from "../graph.ts";
import { onHost } from "./host-kernels.ts";
import {
  batchNormalise,
  batchNormaliseGrad,
  layerNormalise,
  layerNormaliseGrad,
  renormalise,
} from "./host-normalisation.ts";
import { columnDot, columnSum } from "./products.ts";

/** Added to variances, in both kinds of normalisation. */
const EPSILON = 1e-5;

/** Batch statistics: x [..., C] → y, mean, unbiased variance and rstd [C]. */
export function batchNorm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, act: Activation) {
  if (onHost()) {
    const c = gamma.shape;
    const attributes = { epsilon: EPSILON };
    const results = batchNormalise([x, gamma, beta], [x.shape, c, c, c], attributes);
    const [z, mean, variance, rstd] = results;
    return { y: activate(z, act), mean, variance, rstd };
  }
  const n = x.size / gamma.size;
  const mean = tf.mul(columnSum(x), 1 / n);
  const centred = tf.sub(x, mean);
  const squares = columnDot(centred, centred);
  const rstd = tf.rsqrt(tf.add(tf.mul(squares, 1 / n), EPSILON));
  const y = activate(tf.add(tf.mul(centred, tf.mul(gamma, rstd)), beta), act);
  return { y, mean, variance: tf.mul(squares, 1 / (n - 1)), rstd };
}

/** The same with running statistics, folded into one scale and one shift. */
export function batchNormEval(
  x: tf.Tensor,
  gamma: tf.Tensor,
  beta: tf.Tensor,
  mean: tf.Tensor,
  variance: tf.Tensor,
  act: Activation,
): tf.Tensor {
  const scale = tf.mul(gamma, tf.rsqrt(tf.add(variance, EPSILON)));
  const shift = tf.sub(beta, tf.mul(mean, scale));
  return activate(tf.add(tf.mul(x, scale), shift), act);
}

/** Gradient through activation, scale and batch statistics. */
export function batchNormGrad(
  x: tf.Tensor,
  gamma: tf.Tensor,
  beta: tf.Tensor,
  mean: tf.Tensor,
  rstd: tf.Tensor,
  dy: tf.Tensor,
  act: Activation,
) {
  if (onHost() && act !== "relu") {
    const [z] = act === "silu" ? renormalise([x, gamma, beta, mean, rstd], [x.shape], {}) : [];
    const silu = z ? [z, tf.sigmoid(z)] : [];
    const inputs = [x, gamma, mean, rstd, dy, ...silu];
    const [dx, dgamma, dbeta] = batchNormaliseGrad(inputs, [x.shape, gamma.shape, gamma.shape], {});
    return { dx, dgamma, dbeta };
  }
  const n = x.size / gamma.size;
  const centred = tf.sub(x, mean);
  const scale = tf.mul(gamma, rstd);
  const dz = act === "none" ? dy : activateGrad(tf.add(tf.mul(centred, scale), beta), dy, act);
  const dbeta = columnSum(dz);
  const dgamma = tf.mul(columnDot(dz, centred), rstd);
  // dx = scale·(dz - Σdz/n - x̂·Σ(dz·x̂)/n)
  const slope = tf.mul(tf.mul(dgamma, rstd), 1 / n);
  const dx = tf.mul(tf.sub(tf.sub(dz, tf.mul(dbeta, 1 / n)), tf.mul(centred, slope)), scale);
  return { dx, dgamma, dbeta };
}

/** Over the last axis: x [..., C] → y, and mean and rstd [...]. */
export function layerNorm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) {
  const rows = x.shape.slice(0, -1);
  if (onHost()) {
    const attributes = { epsilon: EPSILON };
    const [y, mean, rstd] = layerNormalise([x, gamma, beta], [x.shape, rows, rows], attributes);
    return { y, mean, rstd };
  }
  const mean = tf.mean(x, -1, true);
  const centred = tf.sub(x, mean);
  const rstd = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), EPSILON));
  const y = tf.add(tf.mul(tf.mul(centred, rstd), gamma), beta);
  return { y, mean: tf.reshape(mean, rows), rstd: tf.reshape(rstd, rows) };
}

/** Gradient of layerNorm. */
export function layerNormGrad(
  x: tf.Tensor,
  gamma: tf.Tensor,
  mean: tf.Tensor,
  rstd: tf.Tensor,
  dy: tf.Tensor,
) {
  if (onHost()) {
    const shapes = [x.shape, gamma.shape, gamma.shape];
    const [dx, dgamma, dbeta] = layerNormaliseGrad([x, gamma, mean, rstd, dy], shapes, {});
    return { dx, dgamma, dbeta };
  }
  const column = [...mean.shape, 1];
  const rowScale = tf.reshape(rstd, column);
  const normal = tf.mul(tf.sub(x, tf.reshape(mean, column)), rowScale); // x̂
  const product = tf.mul(dy, normal);
  const scaled = tf.mul(dy, gamma);
  const slope = tf.mean(tf.mul(product, gamma), -1, true);
  const dx = tf.mul(
    tf.sub(tf.sub(scaled, tf.mean(scaled, -1, true)), tf.mul(normal, slope)),
    rowScale,
  );
  return { dx, dgamma: columnSum(product), dbeta: columnSum(dy) };
}

/** y = act(z). */
export function activate(z: tf.Tensor, act: Activation): tf.Tensor {
  if (act === "silu") return tf.mul(z, tf.sigmoid(z));
  return act === "relu" ? tf.relu(z) : z;
}

/** dy · act'(z). */
export function activateGrad(z: tf.Tensor, dy: tf.Tensor, act: Activation): tf.Tensor {
  if (act === "none") return dy;
  if (act === "relu") return tf.mul(dy, tf.step(z));
  const s = tf.sigmoid(z);
  const y = tf.mul(z, s);
  return tf.mul(dy, tf.add(s, tf.sub(y, tf.mul(y, s)))); // s + z·s·(1 - s)
}
