/**
 * Where the positions of an image look: attention probabilities of one layer. Training never stores them
 * (at 320x320 one layer has 98 MiB), so they are computed on request from the queries and keys.
 */

import { HEADS, VARIANTS, type VariantName } from "@swarmvit/shared/variants";

/** One transformer layer of the network. */
export interface AttentionPlace {
  /** Stages 2, 3 and 4 have a MobileViT block. */
  readonly stage: number;
  /** 0 for the first layer of its block. */
  readonly layer: number;
}

export interface AttentionMap {
  /** Four for each image: one for each pixel offset 2·py + px inside its 2x2 patch (SPEC section 1, step 4). */
  readonly sequences: number;
  readonly heads: number;
  /** Positions of a sequence: patches of the stage's map, row by row. */
  readonly tokens: number;
  /** [sequences, heads, tokens, tokens]; each row sums to 1 over what its query looks at. */
  readonly probabilities: Float32Array;
}

/** The probabilities softmax(q·k / √hd) of qkv [4·samples, N, 3d], channels q|k|v, head-major inside each. */
export function attentionMap(
  qkv: Float32Array,
  samples: number,
  variant: VariantName,
  { stage }: AttentionPlace,
): AttentionMap {
  const d = VARIANTS[variant].transformers[stage - 2].dim;
  const sequences = 4 * samples;
  const channels = 3 * d;
  const tokens = qkv.length / (sequences * channels);
  const headDim = d / HEADS;
  const scale = headDim ** -0.5;
  const probabilities = new Float32Array(sequences * HEADS * tokens * tokens);
  const scores = new Float64Array(tokens);
  let row = 0;
  for (let s = 0; s < sequences; s++)
    for (let head = 0; head < HEADS; head++)
      for (let i = 0; i < tokens; i++) {
        const query = (s * tokens + i) * channels + head * headDim;
        let most = Number.NEGATIVE_INFINITY;
        for (let j = 0; j < tokens; j++) {
          const key = (s * tokens + j) * channels + d + head * headDim;
          let score = 0;
          for (let c = 0; c < headDim; c++) score += qkv[query + c] * qkv[key + c];
          scores[j] = score * scale;
          most = Math.max(most, scores[j]);
        }
        let sum = 0;
        for (let j = 0; j < tokens; j++) {
          scores[j] = Math.exp(scores[j] - most);
          sum += scores[j];
        }
        for (let j = 0; j < tokens; j++) probabilities[row + j] = scores[j] / sum;
        row += tokens;
      }
  return { sequences, heads: HEADS, tokens, probabilities };
}
