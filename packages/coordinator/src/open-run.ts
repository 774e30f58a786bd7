/** What a run has on disk, opened: lock, record, plan, weights, metrics; made new, or resumed. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { RunConfig } from "@swarmvit/shared/config";
import { initialParameters, initialStatistics } from "@swarmvit/shared/init";
import type { MetricRecord, RunState } from "@swarmvit/shared/run";
import { variantOf } from "@swarmvit/shared/run-plan";
import { type PackedData, planSession, type SessionPlan } from "./session-plan.ts";
import { listCheckpoints } from "./storage/checkpoint-store.ts";
import { cutMetricsLog, type MetricsLog, openMetricsLog } from "./storage/metrics-log.ts";
import { lockRun, type RunLock } from "./storage/run-lock.ts";
import { openRunRecord, type RunRecord } from "./storage/run-record.ts";
import type { Published, Restored, VectorSetup } from "./vectors/vector-work.ts";
import { inlineVectors, threadVectors, type Vectors } from "./vectors/vectors.ts";

export interface OpenRunOptions {
  readonly config: RunConfig;
  readonly name: string;
  /** Made if missing; locked while open. */
  readonly runDirectory: string;
  readonly dataset: PackedData;
  /** Go on from the newest checkpoint (or the start, where there is none yet). */
  readonly resume: boolean;
  /** Instead of the initialisation from the seed, each flat in table order. */
  readonly initialWeights?: {
    readonly parameters: Float32Array;
    readonly statistics: Float32Array;
  };
  /** Long vectors on the main thread, for tests. */
  readonly inline?: boolean;
  log(line: string): void;
}

export interface OpenRun {
  readonly record: RunRecord;
  readonly plan: SessionPlan;
  readonly vectors: Vectors;
  /** The weights that the run goes on from. */
  readonly start: Published;
  readonly restored?: Restored;
  /** Records of earlier sessions, oldest first. */
  readonly history: readonly MetricRecord[];
  readonly checkpoints: RunState["checkpoints"];
  readonly metrics: MetricsLog;
  /** Back to the weights before the first step. */
  initialize(): Promise<Published>;
  close(): Promise<void>;
}

/** Opens a run. Throws a `RunLockedError` where another coordinator has it, and what the files say. */
export async function openRun(options: OpenRunOptions, nowMs: number): Promise<OpenRun> {
  mkdirSync(options.runDirectory, { recursive: true });
  const lock = lockRun(options.runDirectory);
  let vectors: Vectors | undefined;
  try {
    const record = openRunRecord(options.runDirectory, Math.round(nowMs));
    const plan = planSession(options.config, options.dataset, record.id, options.name);
    const setup = setupOf(options);
    vectors = (options.inline ? inlineVectors : threadVectors)(setup);
    return await openWith(options, lock, record, plan, vectors, setup.checkpointDirectory);
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
  checkpointDirectory: string,
): Promise<OpenRun> {
  const { config, initialWeights, runDirectory, log } = options;
  const initialize = () =>
    vectors.initialize(
      initialWeights?.parameters ?? initialParameters(plan.table, config.seed),
      initialWeights?.statistics ?? initialStatistics(plan.table),
    );
  const restored = await restore(vectors, options, checkpointDirectory);
  const start = restored ?? (await initialize());
  const step = restored?.core.step ?? 0;
  const evaluatedAt = restored?.core.evaluatedAt ?? 0;
  const metricsPath = join(runDirectory, "metrics.jsonl");
  // What is computed again must not be listed twice; who came and went stays.
  const history = cutMetricsLog(metricsPath, (entry) => {
    if (entry.kind === "step") return entry.step <= step;
    return entry.kind !== "eval" || entry.step <= evaluatedAt;
  });
  const metrics = openMetricsLog(metricsPath, log);
  const checkpoints = listCheckpoints(checkpointDirectory).map(({ file, step, bytes }) => ({
    file,
    step,
    bytes,
  }));
  return {
    record,
    plan,
    vectors,
    start,
    restored,
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

/** The newest checkpoint of a run that is resumed; refuses to begin anew over an old one. */
async function restore(
  vectors: Vectors,
  { resume, runDirectory, log }: OpenRunOptions,
  checkpointDirectory: string,
): Promise<Restored | undefined> {
  if (!resume) {
    if (listCheckpoints(checkpointDirectory).length > 0)
      throw new Error(
        `${runDirectory} holds checkpoints already: go on with --resume, or choose another --name`,
      );
    return undefined;
  }
  const restored = await vectors.restore();
  for (const line of restored?.warnings ?? []) log(line);
  log(
    restored
      ? `resuming from ${restored.entry.file}: ${restored.core.step} steps done`
      : "no checkpoint yet: starting from the beginning",
  );
  return restored;
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
  };
}
