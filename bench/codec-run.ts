/**
 * One training run in one process, as a coordinator and a volunteer do it together: the planner's
 * units, gradients of the `wasm` executor on one thread, contribution frames, the sum in tree order,
 * the commit, and the next weights decoded from what travels. Only the sockets are left out.
 */

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Join, openAssembly } from "@swarmvit/coordinator/core/assembly";
import type { StepLog } from "@swarmvit/coordinator/core/messages";
import { openDataset } from "@swarmvit/coordinator/datasets/open-dataset";
import { packDataset } from "@swarmvit/coordinator/datasets/packed-dataset";
import { planSession } from "@swarmvit/coordinator/session-plan";
import { nodeDisk } from "@swarmvit/coordinator/storage/node-disk";
import type { Published } from "@swarmvit/coordinator/vectors/publication";
import { openVectorWork } from "@swarmvit/coordinator/vectors/vector-work";
import { floatsOf } from "@swarmvit/shared/bytes";
import type { Codec } from "@swarmvit/shared/codec";
import { effectiveConfig, type RunConfig, runConfigSchema } from "@swarmvit/shared/config";
import { encodeFrame, type FrameId, type Report } from "@swarmvit/shared/frame";
import { initialParameters, initialStatistics } from "@swarmvit/shared/init";
import type { ParameterTable } from "@swarmvit/shared/parameters";
import type { StepPlan, Unit } from "@swarmvit/shared/planner";
import { decodeDeltas, decodePublishedHalves } from "@swarmvit/shared/published-weights";
import { learningRate } from "@swarmvit/shared/schedule";
import { decodeShard } from "@swarmvit/shared/shard";
import { score } from "@swarmvit/worker/engine/score";
import { createWasmExecutor } from "@swarmvit/worker/engine/wasm/executor";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import { buildBatch } from "@swarmvit/worker/input/batch";
import { decodeInNode } from "@swarmvit/worker/input/decode-node";
import { createPixelCache } from "@swarmvit/worker/input/pixel-cache";

export interface CodecRun {
  readonly codec: Codec;
  readonly seed: number;
  readonly epochs: number;
  readonly imgSize: number;
  /** Stop here, for a trial. */
  readonly maxSteps?: number;
}

export interface CodecResult extends CodecRun {
  readonly steps: number;
  /** Fractions of the validation split, by the averaged weights and by the raw ones. */
  readonly top1: number;
  readonly top1Raw: number;
  /** Mean training loss of the last tenth of the steps. */
  readonly loss: number;
  readonly seconds: number;
  /** Bytes of one contribution, and of the weights of one step. */
  readonly up: number;
  readonly down: number;
}

const PIXELS = 256 * 2 ** 20;
/** As a coordinator does, so that the log stays short. */
const CHECKPOINT_EVERY = 50;
const EVALUATION_BATCH = 50;

/** Trains and evaluates. `onStep` is told now and then. */
export async function trainWithCodec(
  run: CodecRun,
  onStep: (step: number, of: number, loss: number) => void = () => {},
): Promise<CodecResult> {
  const directory = mkdtempSync(join(tmpdir(), "swarmvit-codec-"));
  try {
    return await trainIn(directory, run, onStep);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function trainIn(
  directory: string,
  run: CodecRun,
  onStep: (step: number, of: number, loss: number) => void,
): Promise<CodecResult> {
  const started = performance.now();
  const config = configOf(run);
  const shards = join(directory, "shards");
  mkdirSync(shards);
  const dataset = await openDataset(config.data, { seed: run.seed });
  const packed = await packDataset(dataset, {
    directory: shards,
    seed: run.seed,
    shardSamples: 500,
  });
  const { table, session } = planSession(config, packed, "0123456789abcdef", "codec");
  const { planner, schedule } = session;
  const executor = await createWasmExecutor(
    { ...session.run, classes: packed.classes.length },
    { threads: 1, loadModule: loadModuleFromDisk },
  );
  const work = openVectorWork(
    {
      ...{ variant: session.run.variant, classes: packed.classes, codec: run.codec },
      ...{ recipe: config.recipe, weightDecay: config.weightDecay },
      checkpointDirectory: join(directory, "checkpoints"),
      logDirectory: join(directory, "log"),
    },
    nodeDisk,
  );
  const batchOf = batchSource(shards, packed, session.run.augment);

  work.initialize(initialParameters(table, run.seed), initialStatistics(table));
  let published = work.publish();
  let held = vectorOf(published, published.weights.parameters);
  let [up, down] = [0, 0];
  const losses: number[] = [];
  const steps = Math.min(planner.totalSteps, run.maxSteps ?? Number.POSITIVE_INFINITY);
  for (let step = 0; step < steps; step++) {
    const plan = planner.planStep(step) as StepPlan;
    await executor.setWeights(held);
    const assembly = openAssembly(plan.units.length);
    const perform = (joins: readonly Join[] = []): void => {
      for (const join of joins) {
        if (join.type === "alias") work.alias(step, join.node, join.child);
        else {
          work.add(step, join.node, join.left, join.right);
          perform(assembly.added(join.node));
        }
      }
    };
    for (const unit of plan.units) {
      const node = executor.startNode();
      const report = await node.add(await batchOf("train", unit));
      const id = frameIdOf(session.run.id, run.codec, step, unit);
      const frame = encodeFrame(id, table, { ...(await node.finish()), report });
      up = frame.byteLength;
      const verified = work.verify(frame, id, [unit]);
      if (!verified.ok) throw new Error(`unit ${unit.index} was refused: ${verified.detail}`);
      assembly.offer(id, unit.index);
      perform(assembly.fill(id, verified.report));
    }
    const report = assembly.rootReport() as Report;
    losses.push(report.loss / plan.samples);
    const lr = learningRate(schedule, plan.cursor);
    const log = logOf(step, plan);
    const committed = await work.commit(
      step,
      assembly.root,
      plan.samples,
      lr,
      log,
      step + 1 === steps,
    );
    if ("unlogged" in committed) throw new Error(committed.unlogged);
    if (!committed.finite) throw new Error(`step ${step + 1} is not finite`);
    work.forget(step);
    published = committed;
    ({ held, down } = receive(run.codec, table, published, held));
    if ((step + 1) % CHECKPOINT_EVERY === 0)
      work.checkpoint({ ...log.core, weights: published.weights });
    onStep(step + 1, steps, losses[step]);
  }

  const evaluate = async (parameters: string, statistics: string) => {
    await executor.setWeights(vectorOf(published, parameters), vectorOf(published, statistics));
    let right = 0;
    for (let first = 0; first < packed.validation.samples; first += EVALUATION_BATCH) {
      const end = Math.min(first + EVALUATION_BATCH, packed.validation.samples);
      const samples = Array.from({ length: end - first }, (_, i) => first + i);
      const unit = { index: 0, height: run.imgSize, width: run.imgSize, samples, seed: 0 };
      const batch = await batchOf("validation", unit);
      right += score(await executor.predict(batch), batch.labels).top1;
    }
    return right / packed.validation.samples;
  };
  const { parameters, statistics, emaParameters, emaStatistics } = published.weights;
  if (!emaParameters || !emaStatistics) throw new Error("the moving averages were not published");
  const top1 = await evaluate(emaParameters, emaStatistics);
  const top1Raw = await evaluate(parameters, statistics);
  await executor.close();
  const last = losses.slice(-Math.ceil(losses.length / 10));
  const loss = last.reduce((a, b) => a + b, 0) / last.length;
  const seconds = (performance.now() - started) / 1000;
  return { ...run, steps, top1, top1Raw, loss, seconds, up, down };
}

/** What a volunteer makes of the next weights, from the bytes that its codec sends. */
function receive(codec: Codec, table: ParameterTable, published: Published, held: Float32Array) {
  const { encoded, weights } = published;
  const whole = vectorOf(published, weights.parameters);
  if (codec === "f32" || !encoded) return { held: whole, down: whole.byteLength };
  const decoded =
    codec === "f16"
      ? decodePublishedHalves(encoded.bytes, table.parameterCount)
      : decodeDeltas(table, encoded.bytes, held);
  if (Buffer.compare(new Uint8Array(decoded.buffer), new Uint8Array(whole.buffer)) !== 0)
    throw new Error(`the ${codec} weights do not decode to what was published`);
  return { held: decoded, down: encoded.bytes.byteLength };
}

function vectorOf(published: Published, sha256: string): Float32Array {
  const found = published.vectors.find((vector) => vector.sha256 === sha256);
  if (!found) throw new Error(`no vector ${sha256} was published`);
  return floatsOf(found.bytes);
}

function configOf({ epochs, imgSize, seed, codec }: CodecRun): RunConfig {
  const scales = `${imgSize}:${imgSize}:1`;
  const batches = { batchSize: 64, unitSize: 32 };
  return effectiveConfig(
    runConfigSchema.parse({ ...batches, epochs, imgSize, scales, seed, codec }),
  );
}

/** Batches out of the shard files, each image decoded once. */
function batchSource(
  directory: string,
  packed: Awaited<ReturnType<typeof packDataset>>,
  augment: ReturnType<typeof planSession>["session"]["run"]["augment"],
) {
  const open = (split: "train" | "validation") => {
    const samples = packed[split].shards.flatMap(({ sha256 }) =>
      decodeShard(readFileSync(join(directory, sha256))),
    );
    return { samples, cache: createPixelCache(PIXELS) };
  };
  const splits = { train: open("train"), validation: open("validation") };
  return (split: keyof typeof splits, unit: Unit) => {
    const { samples, cache } = splits[split];
    const kind = split === "train" ? "gradient" : "evaluation";
    const getSample = async (id: number) => samples[id];
    return buildBatch(unit, { kind, getSample, decode: decodeInNode, augment, cache });
  };
}

function frameIdOf(run: string, codec: Codec, step: number, { index, samples }: Unit): FrameId {
  const token = "0".repeat(32);
  const common = { run, kind: "gradient", codec, step, level: 0, index, token } as const;
  return { ...common, samples: samples.length, lease: index };
}

/** What the write-ahead log wants to know beside the numbers. */
function logOf(step: number, plan: StepPlan): StepLog {
  return {
    core: { schema: 1, step: step + 1, struck: [], evaluatedAt: 0, fence: 1 },
    record: {
      ...{ kind: "step", step: step + 1, epoch: 0, time: 0, loss: 0, top1: 0, lr: 0 },
      ...{ samples: plan.samples, images_per_second: 0, seconds: 0, workers: 1 },
      ...{ resolutions: {}, bytes_in: 0, bytes_out: 0, weights: "" },
    },
    cursor: plan.nextCursor,
    leases: [],
  };
}
