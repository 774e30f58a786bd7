/** What is served of a state: its vectors by their hashes, and the encoding that volunteers fetch. */

import { createHash } from "node:crypto";
import { bytesOf } from "@swarmvit/shared/bytes";
import type { Codec } from "@swarmvit/shared/codec";
import { encodeAsHalves } from "@swarmvit/shared/published-weights";
import type { PublishedWeights } from "../core/messages.ts";
import type { VectorState } from "./vector-state.ts";

/** Vectors to be served: their hashes by meaning, and the bytes by hash. */
export interface Published {
  readonly weights: PublishedWeights;
  readonly vectors: readonly { readonly sha256: string; readonly bytes: Uint8Array }[];
  /** `weights.parameters` as the run's codec sends them, where that is not float32. */
  readonly encoded?: EncodedWeights;
}

/** Halves, or the delta from the parameters published before, named by their hash. */
export interface EncodedWeights {
  readonly from?: string;
  readonly bytes: Uint8Array;
}

/**
 * Copies of what is served, so that the next step does not change them under a download. `delta`
 * leads from the parameters whose hash is `from`.
 */
export function publicationOf(
  state: VectorState,
  codec: Codec,
  from: string,
  delta?: Uint8Array,
): Published {
  const vectors = [state.published, state.statistics, state.emaWeights, state.emaStatistics].map(
    (vector) => {
      const bytes = bytesOf(vector.slice());
      return { sha256: hashOf(bytes), bytes };
    },
  );
  const [parameters, statistics, emaParameters, emaStatistics] = vectors.map((v) => v.sha256);
  const weights = { parameters, statistics, emaParameters, emaStatistics };
  const encoded =
    codec === "f16" ? { bytes: encodeAsHalves(state.published) } : delta && { bytes: delta, from };
  return { weights, vectors, encoded };
}

/** SHA-256 in hex of a vector's bytes. */
export function hashOf(vector: Uint8Array | Float32Array): string {
  return createHash("sha256").update(vector).digest("hex");
}
