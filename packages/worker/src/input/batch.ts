/** Builds the batch of a unit: fetch, decode, augment. */

import type { ContributionKind } from "@swarmvit/shared/frame";
import type { Unit } from "@swarmvit/shared/planner";
import type { AugmentConfig } from "@swarmvit/shared/protocol";
import type { Batch } from "../engine/executor.ts";
import { evaluationRegion, sampleRegion, trainingRegion } from "./augment.ts";
import { type Decode, UndecodableSample } from "./decode.ts";
import type { DecodedSample, PixelCache } from "./pixel-cache.ts";

/** Where samples come from: the shard cache. Sample ids are positions in the packed split. */
export type GetSample = (
  id: number,
) => Promise<{ readonly bytes: Uint8Array; readonly label: number }>;

export interface BatchSource {
  /** A gradient is taken of augmented images; an evaluation shows every image the same way. */
  readonly kind: ContributionKind;
  readonly getSample: GetSample;
  readonly decode: Decode;
  readonly augment: AugmentConfig;
  /** One cache for each split: ids of different splits are different images. */
  readonly cache?: PixelCache;
}

/**
 * Images being decoded at a time. A thread that computes a unit hears of none until it is done, so the
 * next unit's should all be under way by then; few enough for memory.
 */
const IN_FLIGHT = 32;

/**
 * The batch of one unit, [B, H, W, 3] in [0, 1]: a pure function of the unit, its samples' bytes and the
 * augmentation. Rejects with `UndecodableSample` where bytes are no image, with `getSample`'s own
 * error where they cannot be fetched, and with the signal's reason when aborted.
 */
export async function buildBatch(
  unit: Pick<Unit, "height" | "width" | "samples" | "seed">,
  source: BatchSource,
  signal?: AbortSignal,
): Promise<Batch> {
  const { height, width, samples, seed } = unit;
  const { kind, augment } = source;
  const sampleFloats = height * width * 3;
  const pixels = new Float32Array(samples.length * sampleFloats);
  const labels = new Int32Array(samples.length);

  let next = 0;
  let failed = false;
  const work = async (): Promise<void> => {
    while (next < samples.length && !failed) {
      const position = next++;
      signal?.throwIfAborted();
      const decoded = await decodeSample(samples[position], source);
      const region =
        kind === "gradient"
          ? trainingRegion(decoded.pixels, seed, position, augment)
          : evaluationRegion(decoded.pixels, height, width, augment.evalResize);
      sampleRegion(decoded.pixels, region, height, width, pixels, position * sampleFloats);
      labels[position] = decoded.label;
    }
  };
  const workers = Array.from({ length: Math.min(IN_FLIGHT, samples.length) }, () =>
    work().catch((error: unknown) => {
      failed = true;
      throw error;
    }),
  );
  await Promise.all(workers);
  signal?.throwIfAborted();
  return { height, width, pixels, labels, seed };
}

async function decodeSample(id: number, source: BatchSource): Promise<DecodedSample> {
  const cached = source.cache?.get(id);
  if (cached) return cached;
  const { bytes, label } = await source.getSample(id);
  const pixels = await source.decode(bytes).catch((error: unknown) => {
    throw new UndecodableSample(id, { cause: error });
  });
  const decoded = { pixels, label };
  source.cache?.set(id, decoded);
  return decoded;
}
