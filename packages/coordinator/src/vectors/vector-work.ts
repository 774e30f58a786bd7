/**
 * The work on long vectors, behind one synchronous interface: verify, add, commit, checkpoint. It
 * runs in a thread of its own (`vector-thread.ts`) or inline; it knows no sockets and no clock.
 */

import { allFinite } from "@swarmvit/shared/finite";
import { FrameError } from "@swarmvit/shared/frame";
import { encodeModel } from "@swarmvit/shared/model-weights";
import { type ParameterTable, parameterTable } from "@swarmvit/shared/parameters";
import { averageGradient, clipGradient, gradientNorm } from "../core/average.ts";
import { emaMomentum } from "../core/ema.ts";
import { ADAMW_DEFAULTS, biasCorrections } from "../core/optimizer.ts";
import {
  dropLaterCheckpoints,
  oldestReplayed,
  readNewestCheckpoint,
  writeCheckpoint,
} from "../storage/checkpoint-store.ts";
import { crashPoint } from "../storage/crash-point.ts";
import type { Disk } from "../storage/disk.ts";
import { syncFile, writeFileDurably } from "../storage/durable-file.ts";
import { openStepLog, readStepLog } from "../storage/step-log.ts";
import { vectorKernels } from "./kernels.ts";
import { openNodeSums } from "./node-sums.ts";
import { hashOf, type Published, publicationOf } from "./publication.ts";
import {
  applyUpdate,
  decodeRecord,
  encodeRecord,
  type RecordBody,
  type StepEntry,
} from "./step-update.ts";
import { openVectorPool } from "./vector-pool.ts";
import type { Commitment, VectorSetup, VectorWork } from "./vector-port.ts";
import { initialVectorState, type VectorState } from "./vector-state.ts";
import { verifyContribution } from "./verify-contribution.ts";

/** From here on a second moment could overflow float32, and stay infinite for ever. */
const MAX_NORM = 1e19;

/**
 * Opens the work on a disk; nothing can be committed or saved before `initialize` or `restore`.
 * Another table than the variant's is for tests that need a model of a few numbers.
 */
export function openVectorWork(
  setup: VectorSetup,
  disk: Disk,
  table: ParameterTable = parameterTable(setup.variant, setup.classes.length),
): VectorWork {
  const optimizer = { ...ADAMW_DEFAULTS, weightDecay: setup.weightDecay };
  vectorKernels(); // where they are missing, nothing must begin
  const nodes = openNodeSums(table);
  const stepLog = openStepLog(disk, setup.logDirectory);
  let current: VectorState | undefined;
  /** SHA-256 of the published weights in force. */
  let inForce = "";
  /** Applied, and not yet on disk for sure. */
  let unlogged:
    | { step: number; body: RecordBody; gradient: Float32Array; commitment: Commitment }
    | undefined;
  /** Of a record that is on disk. */
  let oldBody: RecordBody | undefined;
  /** Of vectors that were published: fresh memory costs more than the copy. */
  const pool = openVectorPool(table.parameterCount);

  /** `delta`: from the weights that were in force. */
  const publish = (evaluated: boolean, delta?: Uint8Array): Published => {
    const encoded = delta && { bytes: delta, from: inForce };
    const published = publicationOf(state(), setup.codec, {
      evaluated,
      encoded,
      copyOf: pool.copyOf,
    });
    inForce = published.weights.parameters;
    return published;
  };
  const state = (): VectorState => {
    if (!current) throw new Error("there are no weights yet: initialize or restore comes first");
    return current;
  };

  return {
    initialize(parameters, statistics) {
      current = initialVectorState(table, setup.codec, parameters, statistics);
      unlogged = undefined;
      nodes.clear();
      inForce = hashOf(current.published);
    },

    restore(before) {
      const warnings: string[] = [];
      const checkpoint = readNewestCheckpoint(
        disk,
        setup.checkpointDirectory,
        table,
        (line) => warnings.push(line),
        before,
      );
      if (!checkpoint) return undefined;
      nodes.clear();
      unlogged = undefined;
      current = checkpoint.state;
      inForce = hashOf(current.published);
      return { core: checkpoint.core, entry: checkpoint.entry, warnings };
    },

    replay() {
      const now = state();
      const entries: StepEntry[] = [];
      const gradient = new Float32Array(table.parameterCount);
      const end = readStepLog(disk, setup.logDirectory, now.steps, (step, body) => {
        try {
          const { entry, update } = decodeRecord(table, setup.codec, body, gradient);
          if (entry.from !== inForce)
            return `step ${step} does not start from the weights that were reached`;
          applyUpdate(now, table, setup.codec, optimizer, update);
          inForce = hashOf(now.published);
          entries.push(entry);
          return undefined;
        } catch (error) {
          return `step ${step}: ${error instanceof Error ? error.message : error}`;
        }
      });
      crashPoint("log-replayed");
      stepLog.cut(now.steps);
      const published = publish(true);
      const last = entries.at(-1);
      return {
        ...published,
        core: last && { ...last.log.core, weights: published.weights },
        records: entries.map(({ log, gradNorm }) => ({ ...log.record, grad_norm: gradNorm })),
        warnings:
          end.why === "damaged" || end.why === "gap"
            ? [
                `the log is damaged after step ${end.step} (${end.detail}): what is missing is computed again`,
              ]
            : [],
      };
    },

    publish: () => publish(true),

    dropLater() {
      const { steps } = state();
      dropLaterCheckpoints(disk, setup.checkpointDirectory, steps);
      stepLog.cut(steps);
    },

    verify(frame, expected, sizes) {
      try {
        const { report, ...vectors } = verifyContribution(frame, expected, sizes, table);
        if (expected.kind === "gradient") nodes.fill(expected.step, expected, vectors);
        return { ok: true, report };
      } catch (error) {
        if (!(error instanceof FrameError)) throw error;
        return { ok: false, code: error.code, detail: error.message };
      }
    },

    add: nodes.add,
    alias: nodes.alias,

    async commit(step, root, samples, lr, log, evaluated) {
      if (unlogged?.step !== step) {
        const now = state();
        const { gradient, statistics } = nodes.take(step, root);
        averageGradient(gradient, samples);
        const gradNorm = gradientNorm(gradient);
        if (setup.clipGrad !== undefined) clipGradient(gradient, gradNorm, setup.clipGrad);
        const applied = Math.min(gradNorm, setup.clipGrad ?? gradNorm);
        if (!(applied < MAX_NORM) || !allFinite(statistics))
          return { ...publish(evaluated), gradNorm, finite: false, spent: nodes.takeSpent() };
        const t = now.steps + 1;
        const scalars = {
          samples,
          lr,
          ...biasCorrections(optimizer, t),
          emaMomentum: emaMomentum(t, setup.recipe),
        };
        const entry: StepEntry = { ...scalars, gradNorm, from: inForce, log };
        const body = encodeRecord(table, setup.codec, entry, gradient, statistics, oldBody);
        oldBody = undefined;
        // The weights change while the disk is busy with the record.
        const logged = outcomeOf(stepLog.append(t, body));
        const update = { ...scalars, gradient, statistics };
        const delta = applyUpdate(now, table, setup.codec, optimizer, update);
        const spent = nodes.takeSpent();
        const commitment = { ...publish(evaluated, delta), gradNorm, finite: true, spent };
        unlogged = { step, body, gradient, commitment };
        crashPoint("step-applied");
        const problem = await logged;
        if (problem !== undefined) return { unlogged: problem };
      } else {
        const problem = await outcomeOf(stepLog.append(state().steps, unlogged.body));
        if (problem !== undefined) return { unlogged: problem };
      }
      crashPoint("log-synced");
      const { commitment, gradient, body } = unlogged;
      unlogged = undefined;
      nodes.recycle(gradient);
      oldBody = body;
      return commitment;
    },

    recycle: pool.recycle,

    forget: nodes.forget,

    checkpoint(core) {
      // A restart replays the steps behind the checkpoint only: the lines of those before it must last.
      // Done in this thread: a disk that is busy would hold up the event loop.
      if (setup.metricsPath !== undefined) syncFile(disk, setup.metricsPath);
      const entry = writeCheckpoint(disk, setup.checkpointDirectory, table, state(), core);
      crashPoint("checkpoint-pruned");
      stepLog.rotate();
      stepLog.prune(oldestReplayed(disk, setup.checkpointDirectory));
      crashPoint("log-pruned");
      return entry;
    },

    saveModel(path, metadata) {
      const { weights, emaWeights, statistics, emaStatistics } = state();
      const ema = metadata.which === "ema";
      writeFileDurably(disk, path, [
        encodeModel(table, ema ? emaWeights : weights, ema ? emaStatistics : statistics, metadata),
      ]);
    },
  };
}

/** What went wrong, in words; undefined when nothing did. Never rejects. */
async function outcomeOf(promise: Promise<void>): Promise<string | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
