/**
 * Which gradients vanish in exact arithmetic (SPEC section 10): there a zero is right, and float32
 * leaves only noise. Everywhere else a tensor of zeros means that a device computed wrongly.
 */

import { VARIANTS, type VariantName } from "./variants.ts";

export interface NullGradients {
  /** Names of tensors whose whole gradient is null. */
  readonly tensors: ReadonlySet<string>;
  /** Tensors of which only some rows are null: rows `first` up to, but not with, `end`. */
  readonly rows: ReadonlyMap<string, { readonly first: number; readonly end: number }>;
}

/**
 * The null gradients of a training step at an image size. Batch norm removes what is constant over
 * positions, softmax removes key biases, and attention over one position removes queries and keys.
 */
export function nullGradients(variant: VariantName, height: number, width: number): NullGradients {
  const tensors = new Set<string>();
  const rows = new Map<string, { first: number; end: number }>();
  for (const block of ["stages.0.0", "stages.1.0", "stages.1.1", "stages.1.2"])
    tensors.add(`${block}.conv3_1x1.bn.bias`);
  VARIANTS[variant].transformers.forEach(({ dim, depth }, i) => {
    const stage = i + 2;
    const [h, w] = [Math.ceil(height / (8 << i)), Math.ceil(width / (8 << i))];
    // On a 1x1 map a padded 3x3 convolution sees its centre only, so constants stay constants.
    if (h * w === 1) tensors.add(`stages.${stage}.0.conv3_1x1.bn.bias`);
    tensors.add(`stages.${stage}.1.norm.bias`);
    const onePosition = Math.ceil(h / 2) * Math.ceil(w / 2) === 1;
    for (let layer = 0; layer < depth; layer++) {
      const qkv = `stages.${stage}.1.transformer.${layer}.attn.qkv`;
      rows.set(`${qkv}.bias`, { first: onePosition ? 0 : dim, end: 2 * dim });
      if (onePosition) rows.set(`${qkv}.weight`, { first: 0, end: 2 * dim });
    }
  });
  return { tensors, rows };
}
