/** What is served of a state: its vectors by their hashes, and the encoding that volunteers fetch. */

import { createHash } from "node:crypto";
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

export interface PublicationOptions {
  /** With the moving averages: they are read where weights are evaluated. */
  readonly evaluated: boolean;
  /** The delta from the parameters published before. */
  readonly encoded?: EncodedWeights;
  copyOf(vector: Float32Array): Uint8Array;
}

/** Copies of what is served, so that the next step does not change them under a download. */
export function publicationOf(
  state: VectorState,
  codec: Codec,
  { evaluated, encoded, copyOf }: PublicationOptions,
): Published {
  const vectors: { sha256: string; bytes: Uint8Array }[] = [];
  const publish = (vector: Float32Array): string => {
    const bytes = copyOf(vector);
    const sha256 = hashOf(bytes);
    vectors.push({ sha256, bytes });
    return sha256;
  };
  const weights = {
    parameters: publish(state.published),
    statistics: publish(state.statistics),
    ...(evaluated && {
      emaParameters: publish(state.emaWeights),
      emaStatistics: publish(state.emaStatistics),
    }),
  };
  const halves = codec === "f16" ? { bytes: encodeAsHalves(state.published) } : undefined;
  return { weights, vectors, encoded: halves ?? encoded };
}

/** SHA-256 in hex of a vector's bytes. */
export function hashOf(vector: Uint8Array | Float32Array): string {
  return createHash("sha256").update(vector).digest("hex");
}
