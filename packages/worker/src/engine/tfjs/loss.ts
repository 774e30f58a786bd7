/** Smoothed cross-entropy on TF.js, its gradient, and counts of correct predictions. */

import * as tf from "@tensorflow/tfjs-core";

/**
 * logits [B, K], labels [B] → report [Σ loss, top-1 count, top-5 count] and dlogits of the sum
 * (SPEC section 2). Of equal logits the lower class ranks first.
 */
export function crossEntropy(logits: tf.Tensor, labels: tf.Tensor, smoothing: number) {
  const [b, k] = logits.shape as [number, number];
  const classes = tf.reshape(tf.range(0, k, 1, "float32"), [1, k]);
  const label = tf.reshape(labels, [b, 1]);
  const oneHot = tf.cast(tf.equal(classes, label), "float32");
  const shifted = tf.sub(logits, tf.max(logits, 1, true));
  const exponentials = tf.exp(shifted);
  const sums = tf.sum(exponentials, 1, true);
  const target = tf.add(tf.mul(oneHot, 1 - smoothing), smoothing / k);
  // Σ_k target = 1, so the loss is log Σ exp - Σ target·logit.
  const losses = tf.sub(tf.log(sums), tf.sum(tf.mul(target, shifted), 1, true));
  const dlogits = tf.sub(tf.div(exponentials, sums), target);

  const own = tf.sum(tf.mul(oneHot, logits), 1, true);
  const before = tf.logicalOr(
    tf.greater(logits, own),
    tf.logicalAnd(tf.equal(logits, own), tf.less(classes, label)),
  );
  const rank = tf.sum(tf.cast(before, "float32"), 1, true);
  const within = (n: number) => tf.sum(tf.cast(tf.less(rank, n), "float32"));
  const report = tf.stack([tf.sum(losses), within(1), within(5)]);
  return { report, dlogits };
}
