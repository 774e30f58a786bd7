/** The next published weights, and the delta that leads to them (DESIGN section 5). */

import type { Codec } from "@swarmvit/shared/codec";
import type { ParameterTable } from "@swarmvit/shared/parameters";
import { firstPublished } from "@swarmvit/shared/published-weights";
import { vectorKernels } from "./kernels.ts";

/** Makes p_t of `weights` in place of p_{t-1} in `published`; for `int8` returns the delta between them. */
export function publishWeights(
  codec: Codec,
  table: ParameterTable,
  weights: Float32Array,
  published: Float32Array,
): Uint8Array | undefined {
  if (codec === "int8") return vectorKernels().publishDelta(table, weights, published);
  published.set(codec === "f16" ? firstPublished(codec, weights) : weights);
  return undefined;
}
