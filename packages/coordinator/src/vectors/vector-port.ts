/**
 * The work on long vectors as its callers see it: verify, add, commit, checkpoint. `vector-work.ts` does
 * it, `vectors.ts` carries calls to it.
 */

import type { Codec } from "@swarmvit/shared/codec";
import type { FrameId, RefusalCode, Report } from "@swarmvit/shared/frame";
import type { ModelMetadata } from "@swarmvit/shared/model-weights";
import type { StepRecord } from "@swarmvit/shared/run";
import type { Node } from "@swarmvit/shared/tree";
import type { VariantName } from "@swarmvit/shared/variants";
import type { CoreSnapshot, StepLog } from "../core/messages.ts";
import type { CheckpointEntry } from "../storage/checkpoint-store.ts";
import type { Published } from "./publication.ts";
import type { UnitSize } from "./verify-contribution.ts";

/** What is the same for the whole run; plain data, for a thread's start. */
export interface VectorSetup {
  readonly variant: VariantName;
  readonly classes: readonly string[];
  readonly codec: Codec;
  readonly recipe: "small" | "paper";
  readonly weightDecay: number;
  readonly clipGrad?: number;
  readonly checkpointDirectory: string;
  readonly logDirectory: string;
  /** `metrics.jsonl`, whose lines must last before a checkpoint takes their steps out of the replay. */
  readonly metricsPath?: string;
}

export interface Commitment extends Published {
  /** Of the averaged gradient, before clipping. */
  readonly gradNorm: number;
  /** False: something overflowed, and nothing was changed. */
  readonly finite: boolean;
  /** Memory of frames that are used up, for those to come. */
  readonly spent: readonly Uint8Array[];
}

/** The step's record could not be written: nothing is published, and the same commit may be asked for again. */
export interface Unlogged {
  readonly unlogged: string;
}

export interface Restored {
  readonly core: CoreSnapshot;
  /** The checkpoint in words, and what was wrong with newer ones. */
  readonly entry: CheckpointEntry;
  readonly warnings: readonly string[];
}

/** What the log added to a checkpoint, or to the start. */
export interface Replayed extends Published {
  /** After the last step that was replayed; absent where there was none. */
  readonly core?: CoreSnapshot;
  /** Their lines of metrics.jsonl, in order. */
  readonly records: readonly StepRecord[];
  readonly warnings: readonly string[];
}

export type VerifyResult =
  | { readonly ok: true; readonly report: Report }
  | { readonly ok: false; readonly code: RefusalCode; readonly detail: string };

export interface VectorWork {
  /** Starts from these values, each flat; also where there is no checkpoint to restore. */
  initialize(parameters: Float32Array, statistics: Float32Array): void;
  /**
   * Loads the newest whole checkpoint, of those older than `before` steps; undefined where there
   * is none. Forgets all nodes.
   */
  restore(before?: number): Restored | undefined;
  /** Brings the vectors up to the end of the log, and takes out of it what does not follow. */
  replay(): Replayed;
  /** What is in force, for whoever starts from it. */
  publish(): Published;
  /** Gives up the log and the checkpoints of all later steps: a roll-back begins another life here. */
  dropLater(): void;
  /** Decodes and checks a frame; a gradient's vectors become the node's that it names. */
  verify(frame: Uint8Array, expected: FrameId, sizes: readonly UnitSize[]): VerifyResult;
  /** node = left + right; the halves are used up. */
  add(step: number, node: Node, left: Node, right: Node): void;
  /** node = child: the other half lies beyond U. */
  alias(step: number, node: Node, child: Node): void;
  /**
   * One optimizer step on the root's average, on disk and applied when it resolves; with its moving
   * average published too where it is to be `evaluated`. After `Unlogged` the same call tries again
   * to write what is applied already.
   */
  commit(
    step: number,
    root: Node,
    samples: number,
    lr: number,
    log: StepLog,
    evaluated: boolean,
  ): Promise<Commitment | Unlogged>;
  /** Takes the memory of a published vector back: nobody reads it any more. */
  recycle(vector: Uint8Array): void;
  forget(step: number): void;
  checkpoint(core: CoreSnapshot): CheckpointEntry;
  /** Writes a weights file with timm names. */
  saveModel(path: string, metadata: ModelMetadata): void;
}
