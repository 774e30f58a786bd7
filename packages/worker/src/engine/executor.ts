/** The interface that the three executors share: what a volunteer's thread asks of its device. */

import type { Codec } from "@swarmvit/shared/codec";
import type { VariantName } from "@swarmvit/shared/variants";
import type { AttentionMap, AttentionPlace } from "./attention-map.ts";

/** The model a run trains; fixed for an executor's life. */
export interface ModelConfig {
  readonly variant: VariantName;
  readonly classes: number;
  /** Probability of dropout after proj and fc2 (SPEC section 1); 0 turns it off. */
  readonly dropout: number;
  /** Probability of dropout before head.fc. */
  readonly headDropout: number;
  readonly smoothing: number;
}

/** One micro-batch, decoded and augmented. */
export interface Batch {
  readonly height: number;
  readonly width: number;
  /** [B, H, W, 3] in [0, 1], RGB. */
  readonly pixels: Float32Array;
  /** [B] class ids. */
  readonly labels: Int32Array;
  /** The unit's seed: dropout masks come from it. Unused in evaluation. */
  readonly seed: number;
}

/** Samples of a batch, whether it has labels (evaluation needs none) or not. Throws where its parts disagree. */
export function samplesOf({ pixels, height, width, labels }: Batch): number {
  const samples = pixels.length / (height * width * 3);
  if (!Number.isInteger(samples) || samples < 1 || ![0, samples].includes(labels.length))
    throw new Error(
      `expected pixels [${labels.length}, ${height}, ${width}, 3], got ${pixels.length} numbers`,
    );
  return samples;
}

/** What one unit measured on the way. */
export interface UnitReport {
  /** Summed over the unit's samples. */
  readonly loss: number;
  readonly top1: number;
  readonly top5: number;
  readonly computeMs: number;
}

/** The sums of a node (DESIGN section 1, contribution), in PyTorch's layouts and manifest order. */
export interface NodeGradient {
  readonly samples: number;
  readonly loss: number;
  readonly top1: number;
  readonly top5: number;
  /** Σ over samples of loss gradients: every parameter in `parameterTable` order. */
  readonly gradient: Float32Array;
  /** Σ over units of b·s: every batch norm's mean and unbiased variance in `parameterTable` order. */
  readonly statistics: Float32Array;
}

/** A node's sums with the gradient encoded as a frame carries it: the bytes of `encodeGradient`. */
export interface EncodedNode extends Omit<NodeGradient, "gradient"> {
  readonly gradient: Uint8Array;
}

/**
 * Adds a node's units left to right and yields their sum taken in tree order (DESIGN section 5):
 * a binary counter merges equal levels as they arrive, `finish` folds what is left from the right.
 */
export interface NodeAccumulator {
  add(batch: Batch, signal?: AbortSignal): Promise<UnitReport>;
  finish(): Promise<NodeGradient>;
  /** `finish` where the device encodes by itself: fewer bytes to read back. */
  finishEncoded?(codec: Codec): Promise<EncodedNode>;
  /** Forgets the sums; the executor can start another node. */
  abandon(): void;
}

export interface ExecutorInfo {
  readonly executor: "webgpu" | "wasm" | "tfjs";
  /** E.g. "webgpu (tfjs) on swiftshader", shown to people. */
  readonly description: string;
  /** Same bits for the same input on every machine (DESIGN section 4). */
  readonly deterministic: boolean;
  /** A software adapter pretending to be a GPU. */
  readonly software: boolean;
}

export interface Executor {
  readonly info: ExecutorInfo;
  /** Takes the published weights; `statistics` (running mean and variance) only where evaluation follows. */
  setWeights(parameters: Float32Array, statistics?: Float32Array): Promise<void>;
  startNode(): NodeAccumulator;
  /** Logits [B, classes] in evaluation mode. */
  predict(batch: Batch): Promise<Float32Array>;
  /** Attention probabilities of one layer in evaluation mode. */
  attention(batch: Batch, place: AttentionPlace): Promise<AttentionMap>;
  /** Bytes that a unit of this size needs on the device, by the plan. */
  plannedBytes(height: number, width: number, batch: number): number;
  close(): Promise<void>;
}
