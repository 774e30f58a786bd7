/** What a run has on disk, opened: lock, record, plan, weights, metrics; made new, or resumed. */

import { join } from "node:path";
import type { RunConfig } from "@swarmvit/shared/config";
import { initialParameters, initialStatistics } from "@swarmvit/shared/init";
import type { MetricRecord, RunState } from "@swarmvit/shared/run";
import { variantOf } from "@swarmvit/shared/run-plan";
import type { CoreSnapshot } from "./core/messages.ts";
import { type PackedData, planSession, type SessionPlan } from "./session-plan.ts";
import { listCheckpoints } from "./storage/checkpoint-store.ts";
import { crashPoint } from "./storage/crash-point.ts";
import type { Disk } from "./storage/disk.ts";
import {
  type MetricsLog,
  openMetricsLog,
  readMetricsLog,
  repairMetrics,
} from "./storage/metrics-log.ts";
import { nodeDisk } from "./storage/node-disk.ts";
import { lockRun, type RunLock } from "./storage/run-lock.ts";
import { openRunRecord, type RunRecord } from "./storage/run-record.ts";
import { hasStepLog } from "./storage/step-log.ts";
import type { Published } from "./vectors/publication.ts";
import type { VectorSetup } from "./vectors/vector-port.ts";
import { inlineVectors, threadVectors, type Vectors } from "./vectors/vectors.ts";

export interface OpenRunOptions {
  readonly config: RunConfig;
  readonly name: string;
  /** Made if missing; locked while open. */
  readonly runDirectory: string;
  readonly dataset: PackedData;
  /** Go on from where the log ends (or the start, where nothing was done yet). */
  readonly resume: boolean;
  /** Instead of the initialisation from the seed, each flat in table order. */
  readonly initialWeights?: {
    readonly parameters: Float32Array;
    readonly statistics: Float32Array;
  };
  /** Long vectors on the main thread, for tests. */
  readonly inline?: boolean;
  /** Another file system, for tests; only with `inline`. */
  readonly disk?: Disk;
  log(line: string): void;
}

export interface OpenRun {
  readonly record: RunRecord;
  readonly plan: SessionPlan;
  readonly vectors: Vectors;
  /** The weights that the run goes on from. */
  readonly start: Published;
  /** Where the run stood; absent where no step was done. */
  readonly core?: CoreSnapshot;
  /** What it was brought back from, in words; only when resumed. */
  readonly resumedFrom?: string;
  /** What was found damaged, in words. */
  readonly damage: readonly string[];
  /** Records of earlier sessions, oldest first. */
  readonly history: readonly MetricRecord[];
  readonly checkpoints: RunState["checkpoints"];
  readonly metrics: MetricsLog;
  /** Back to the weights before the first step. */
  initialize(): Promise<void>;
  close(): Promise<void>;
}

/** Opens a run. Throws a `RunLockedError` where another coordinator has it, and what the files say. */
export async function openRun(options: OpenRunOptions, nowMs: number): Promise<OpenRun> {
  const { disk = nodeDisk } = options;
  disk.makeDirectory(options.runDirectory);
  const lock = lockRun(disk, options.runDirectory);
  let vectors: Vectors | undefined;
  try {
    const record = openRunRecord(disk, options.runDirectory, Math.round(nowMs));
    crashPoint("fence-raised");
    const plan = planSession(options.config, options.dataset, record.id, options.name);
    const setup = setupOf(options);
    vectors = options.inline ? inlineVectors(setup, disk) : threadVectors(setup);
    return await openWith(options, lock, record, plan, vectors, setup);
  } catch (error) {
    await vectors?.close();
    lock.release();
    throw error;
  }
}

async function openWith(
  options: OpenRunOptions,
  lock: RunLock,
  record: RunRecord,
  plan: SessionPlan,
  vectors: Vectors,
  setup: VectorSetup,
): Promise<OpenRun> {
  const { config, initialWeights, resume, runDirectory, log, disk = nodeDisk } = options;
  const listed = () => listCheckpoints(disk, setup.checkpointDirectory);
  if (!resume && (listed().length > 0 || hasStepLog(disk, setup.logDirectory)))
    throw new Error(
      `${runDirectory} holds checkpoints already: go on with --resume, or choose another --name`,
    );
  const initialize = () =>
    vectors.initialize(
      initialWeights?.parameters ?? initialParameters(plan.table, config.seed),
      initialWeights?.statistics ?? initialStatistics(plan.table),
    );
  const restored = resume ? await vectors.restore() : undefined;
  if (!restored) await initialize();
  const { records, warnings, core: replayed, ...start } = await vectors.replay();
  const core = replayed ?? restored?.core;
  const step = core?.step ?? 0;
  const metricsPath = metricsPathOf(runDirectory);
  const damage = [
    ...(restored?.warnings ?? []),
    ...warnings,
    ...lostSteps(disk, metricsPath, step),
  ];
  for (const line of damage) log(line);
  const resumedFrom = resume
    ? describeStart(restored?.entry.file, records.length, step)
    : undefined;
  if (resumedFrom) log(`resuming from ${resumedFrom}`);
  const history = repairMetrics(disk, metricsPath, step, records);
  const metrics = openMetricsLog(disk, metricsPath);
  const checkpoints = listed().map(({ file, step: at, bytes }) => ({ file, step: at, bytes }));
  return {
    record,
    plan,
    vectors,
    start,
    core,
    resumedFrom,
    damage,
    history,
    checkpoints,
    metrics,
    initialize,
    async close() {
      await vectors.close();
      metrics.close();
      lock.release();
    },
  };
}

/** A line is written after the log has its step: a step that only metrics.jsonl knows was lost. */
function lostSteps(disk: Disk, metricsPath: string, step: number): string[] {
  let listed = 0;
  for (const record of readMetricsLog(disk, metricsPath))
    if (record.kind === "step") listed = Math.max(listed, record.step);
  if (listed <= step) return [];
  return [
    `${listed} steps were done, ${step} could be brought back: the others are computed again`,
  ];
}

function describeStart(checkpoint: string | undefined, replayed: number, step: number): string {
  if (step === 0) return "the beginning: no step was done yet";
  const log = replayed > 0 ? ` and ${replayed} steps of the log` : "";
  return `${checkpoint ?? "the beginning"}${log}: ${step} steps done`;
}

function metricsPathOf(runDirectory: string): string {
  return join(runDirectory, "metrics.jsonl");
}

function setupOf({ config, dataset, runDirectory }: OpenRunOptions): VectorSetup {
  return {
    variant: variantOf(config),
    classes: dataset.classes,
    codec: config.codec,
    recipe: config.recipe,
    weightDecay: config.weightDecay,
    clipGrad: config.clipGrad,
    checkpointDirectory: join(runDirectory, "checkpoints"),
    logDirectory: join(runDirectory, "wal"),
    metricsPath: metricsPathOf(runDirectory),
  };
}
