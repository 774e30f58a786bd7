/** What evaluation counts, from logits: loss and correct predictions, the same on every machine. */

export interface Score {
  readonly samples: number;
  /** Plain cross-entropy summed over the samples in order, in float64. */
  readonly loss: number;
  readonly top1: number;
  readonly top5: number;
}

/**
 * Scores logits [B, classes] against labels [B]. Of equal logits the one of the lower class ranks
 * first. Non-finite logits are an error: they would count as wrong answers in silence.
 */
export function score(logits: Float32Array, labels: Int32Array): Score {
  const samples = labels.length;
  const classes = logits.length / samples;
  if (!Number.isInteger(classes) || classes < 1)
    throw new Error(`expected logits [${samples}, classes], got ${logits.length} numbers`);
  let [loss, top1, top5] = [0, 0, 0];
  for (let b = 0; b < samples; b++) {
    const row = logits.subarray(b * classes, (b + 1) * classes);
    const label = labels[b];
    if (!(label >= 0 && label < classes))
      throw new Error(`label ${label} of sample ${b} is not a class (0 to ${classes - 1})`);
    if (!row.every(Number.isFinite))
      throw new Error(
        `logits of sample ${b} are not finite; the device computed wrongly or the weights diverged`,
      );
    loss += crossEntropy(row, label);
    const rank = rankOf(row, label);
    if (rank < 1) top1++;
    if (rank < 5) top5++;
  }
  return { samples, loss, top1, top5 };
}

function crossEntropy(row: Float32Array, label: number): number {
  const most = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  let sum = 0;
  for (const logit of row) sum += Math.exp(logit - most);
  return Math.log(sum) + most - row[label];
}

/** How many classes come before the label. */
function rankOf(row: Float32Array, label: number): number {
  let rank = 0;
  for (let k = 0; k < row.length; k++)
    if (row[k] > row[label] || (row[k] === row[label] && k < label)) rank++;
  return rank;
}
