/**
 * The work on long vectors, behind one synchronous interface: verify, add, commit, checkpoint. It
 * runs in a thread of its own (`vector-thread.ts`) or inline; it knows no sockets and no clock.
 */

import { createHash } from "node:crypto";
import { bytesOf } from "@swarmvit/shared/bytes";
import type { Codec } from "@swarmvit/shared/codec";
import {
  type Contribution,
  FrameError,
  type FrameId,
  type RefusalCode,
  type Report,
} from "@swarmvit/shared/frame";
import { encodeModel, type ModelMetadata } from "@swarmvit/shared/model-weights";
import { parameterTable } from "@swarmvit/shared/parameters";
import { type Node, nodeKey } from "@swarmvit/shared/tree";
import type { VariantName } from "@swarmvit/shared/variants";
import {
  addVectors,
  allFinite,
  averageGradient,
  clipGradient,
  gradientNorm,
  updateStatistics,
} from "../core/average.ts";
import { emaMomentum, stepEma } from "../core/ema.ts";
import type { CoreSnapshot, PublishedWeights } from "../core/messages.ts";
import { ADAMW_DEFAULTS, biasCorrections, stepAdamW } from "../core/optimizer.ts";
import {
  type CheckpointEntry,
  readNewestCheckpoint,
  writeCheckpoint,
} from "../storage/checkpoint-store.ts";
import { writeFileDurably } from "../storage/durable-file.ts";
import { initialVectorState, publishWeights, type VectorState } from "./vector-state.ts";
import { type UnitSize, verifyContribution } from "./verify-contribution.ts";

/** What is the same for the whole run; plain data, for a thread's start. */
export interface VectorSetup {
  readonly variant: VariantName;
  readonly classes: readonly string[];
  readonly codec: Codec;
  readonly recipe: "small" | "paper";
  readonly weightDecay: number;
  readonly clipGrad?: number;
  readonly checkpointDirectory: string;
}

/** Vectors to be served: their hashes by meaning, and the bytes by hash. */
export interface Published {
  readonly weights: PublishedWeights;
  readonly vectors: readonly { readonly sha256: string; readonly bytes: Uint8Array }[];
}

export interface Commitment extends Published {
  /** Of the averaged gradient, before clipping. */
  readonly gradNorm: number;
  /** False: something overflowed, and nothing was changed. */
  readonly finite: boolean;
}

export interface Restored extends Published {
  readonly core: CoreSnapshot;
  /** The checkpoint in words, and what was wrong with newer ones. */
  readonly entry: CheckpointEntry;
  readonly warnings: readonly string[];
}

export type VerifyResult =
  | { readonly ok: true; readonly report: Report }
  | { readonly ok: false; readonly code: RefusalCode; readonly detail: string };

export interface VectorWork {
  /** Starts from these values, each flat; also where there is no checkpoint to restore. */
  initialize(parameters: Float32Array, statistics: Float32Array): Published;
  /** Loads the newest whole checkpoint; undefined where there is none. Forgets all nodes. */
  restore(): Restored | undefined;
  /** Decodes and checks a frame; a gradient's vectors become the node's that it names. */
  verify(frame: Uint8Array, expected: FrameId, sizes: readonly UnitSize[]): VerifyResult;
  /** node = left + right; the halves are used up. */
  add(step: number, node: Node, left: Node, right: Node): void;
  /** node = child: the other half lies beyond U. */
  alias(step: number, node: Node, child: Node): void;
  /** One optimizer step on the root's average. */
  commit(step: number, root: Node, samples: number, lr: number): Commitment;
  forget(step: number): void;
  checkpoint(core: CoreSnapshot): CheckpointEntry;
  /** Writes a weights file with timm names. */
  saveModel(path: string, metadata: ModelMetadata): void;
}

type Vectors = Pick<Contribution, "gradient" | "statistics">;

/** From here on a second moment could overflow float32, and stay infinite for ever. */
const MAX_NORM = 1e19;

/** Opens the work; nothing can be committed or saved before `initialize` or `restore`. */
export function openVectorWork(setup: VectorSetup): VectorWork {
  const table = parameterTable(setup.variant, setup.classes.length);
  const optimizer = { ...ADAMW_DEFAULTS, weightDecay: setup.weightDecay };
  const nodes = new Map<number, Map<string, Vectors>>(); // step → node key → vectors
  let current: VectorState | undefined;

  const state = (): VectorState => {
    if (!current) throw new Error("there are no weights yet: initialize or restore comes first");
    return current;
  };
  const nodesOf = (step: number) => {
    let map = nodes.get(step);
    if (!map) {
      map = new Map();
      nodes.set(step, map);
    }
    return map;
  };
  const take = (step: number, node: Node): Vectors => {
    const vectors = nodesOf(step).get(nodeKey(node));
    if (!vectors) throw new Error(`node ${nodeKey(node)} of step ${step} is not filled`);
    nodesOf(step).delete(nodeKey(node));
    return vectors;
  };

  return {
    initialize(parameters, statistics) {
      current = initialVectorState(table, setup.codec, parameters, statistics);
      return publish(current);
    },

    restore() {
      const warnings: string[] = [];
      const checkpoint = readNewestCheckpoint(setup.checkpointDirectory, table, (line) =>
        warnings.push(line),
      );
      if (!checkpoint) return undefined;
      nodes.clear();
      current = checkpoint.state;
      return { ...publish(current), core: checkpoint.core, entry: checkpoint.entry, warnings };
    },

    verify(frame, expected, sizes) {
      try {
        const contribution = verifyContribution(frame, expected, sizes, table);
        const { report, gradient, statistics } = contribution;
        if (expected.kind === "gradient")
          nodesOf(expected.step).set(nodeKey(expected), { gradient, statistics });
        return { ok: true, report };
      } catch (error) {
        if (!(error instanceof FrameError)) throw error;
        return { ok: false, code: error.code, detail: error.message };
      }
    },

    add(step, node, left, right) {
      const sum = take(step, left);
      const other = take(step, right);
      addVectors(sum.gradient, sum.gradient, other.gradient);
      addVectors(sum.statistics, sum.statistics, other.statistics);
      nodesOf(step).set(nodeKey(node), sum);
    },

    alias(step, node, child) {
      nodesOf(step).set(nodeKey(node), take(step, child));
    },

    commit(step, root, samples, lr) {
      const now = state();
      const { gradient, statistics } = take(step, root);
      averageGradient(gradient, samples);
      const gradNorm = gradientNorm(gradient);
      if (setup.clipGrad !== undefined) clipGradient(gradient, gradNorm, setup.clipGrad);
      const applied = Math.min(gradNorm, setup.clipGrad ?? gradNorm);
      if (!(applied < MAX_NORM) || !allFinite(statistics))
        return { ...publish(now), gradNorm, finite: false };
      const t = now.steps + 1;
      const corrections = biasCorrections(optimizer, t);
      stepAdamW(now, gradient, table.parameters, optimizer, { lr, ...corrections });
      updateStatistics(now.statistics, statistics, samples);
      const momentum = emaMomentum(t, setup.recipe);
      stepEma(now.emaWeights, now.weights, momentum);
      stepEma(now.emaStatistics, now.statistics, momentum);
      publishWeights(setup.codec, now.weights, now.published);
      now.steps = t;
      return { ...publish(now), gradNorm, finite: true };
    },

    forget(step) {
      nodes.delete(step);
    },

    checkpoint(core) {
      return writeCheckpoint(setup.checkpointDirectory, table, state(), core);
    },

    saveModel(path, metadata) {
      const { weights, emaWeights, statistics, emaStatistics } = state();
      const ema = metadata.which === "ema";
      writeFileDurably(path, [
        encodeModel(table, ema ? emaWeights : weights, ema ? emaStatistics : statistics, metadata),
      ]);
    },
  };
}

/** Copies of what is served, so that the next step does not change them under a download. */
function publish(state: VectorState): Published {
  const vectors = [state.published, state.statistics, state.emaWeights, state.emaStatistics].map(
    (vector) => {
      const bytes = bytesOf(vector.slice());
      return { sha256: createHash("sha256").update(bytes).digest("hex"), bytes };
    },
  );
  const [parameters, statistics, emaParameters, emaStatistics] = vectors.map((v) => v.sha256);
  return { weights: { parameters, statistics, emaParameters, emaStatistics }, vectors };
}
