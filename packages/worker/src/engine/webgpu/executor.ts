/** The `webgpu` executor: one unit is a few submits of own kernels, one node one read-back. */

import type {
  Batch,
  Executor,
  ExecutorInfo,
  ModelConfig,
  NodeAccumulator,
  NodeGradient,
  UnitReport,
} from "../executor.ts";
import type { Graph, ValueId } from "../graph.ts";
import { evaluationGraph, trainingGraph } from "../mobilevit.ts";
import { type Plan, plan } from "../plan.ts";
import { checkUnit, UnsafeNumbersError } from "../safe-numbers.ts";
import { GpuUnavailable } from "./device.ts";
import { fuseAdditions } from "./fuse.ts";
import { HARDWARE_KERNELS, type KernelOptions, SOFTWARE_KERNELS } from "./kernel-options.ts";
import { lower } from "./lower.ts";
import { createMemory } from "./memory.ts";
import { createNodeSum } from "./node-sum.ts";
import { createPipelines } from "./pipelines.ts";
import {
  createProgram,
  neededBuffers,
  type Program,
  type ProgramHost,
  type Region,
} from "./program.ts";
import { createReadBack, type ReadBack } from "./read-back.ts";
import { createWeights, fromDevice } from "./weights.ts";

/** A submit should take about this long, so that a slow GPU can draw in between (DESIGN section 4). */
const SUBMIT_MS = 100;

export interface WebgpuOptions {
  readonly adapterName: string;
  readonly software: boolean;
  /** Chosen by `software` unless given. */
  readonly kernels?: KernelOptions;
}

/** What benches report beside time. */
export interface WebgpuCounts {
  readonly dispatches: number;
  readonly submits: number;
  readonly pipelines: number;
  /** Bytes of all buffers that hold values. */
  readonly bytes: number;
}

export interface WebgpuExecutor extends Executor {
  /** Of the last unit. */
  counts(): WebgpuCounts;
}

interface Compiled {
  readonly program: Program;
  readonly pixels: ValueId;
  readonly labels: ValueId | undefined;
  /** Report (training) or logits (evaluation). */
  readonly result: ValueId;
  readonly readBack: ReadBack;
  /** How many submits a unit is cut into, from how long the last one took. */
  submits: number;
}

/**
 * An executor on an open device, which it owns from now on. Each call may fail with GpuUnavailable:
 * lost device, out of memory, a stale read-back; the worker is then started afresh. Numbers that cannot
 * be right are an UnsafeNumbersError, of the unit (its loss) or of the node (its gradient).
 */
export async function createWebgpuExecutor(
  config: ModelConfig,
  device: GPUDevice,
  options: WebgpuOptions,
): Promise<WebgpuExecutor> {
  const kernels = options.kernels ?? (options.software ? SOFTWARE_KERNELS : HARDWARE_KERNELS);
  const memory = createMemory(device);
  const pipelines = createPipelines(device);
  const weights = createWeights(device, config);
  const sum = createNodeSum(memory, pipelines, kernels.workgroup);
  const compiled = new Map<string, Compiled>();
  const unit = device.createBuffer({
    label: "unit",
    size: 16,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
  });
  let token = 0;
  let last = { dispatches: 0, submits: 0 };
  let nodeReadBack: ReadBack | undefined;
  let lost: GpuUnavailable | undefined;
  void device.lost.then(({ reason, message }) => {
    lost = new GpuUnavailable("lost", `the GPU was lost (${reason}): ${message}`);
  });
  const host: ProgramHost = {
    ...{ memory, pipelines, unit, options: kernels },
    outside: (id: ValueId, { graph }: Plan): Region => weights.region(graph.values[id]),
  };

  /** Runs commands between error scopes; what the device says of them becomes a GpuUnavailable. */
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    if (lost) throw lost;
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    try {
      const result = await work();
      await popScopes();
      return result;
    } catch (error) {
      const told = await popScopes().catch((refused: unknown) => refused);
      throw lost ?? told ?? error;
    }
  };
  const popScopes = async () => {
    const invalid = await device.popErrorScope();
    const exhausted = await device.popErrorScope();
    if (exhausted) throw new GpuUnavailable("out-of-memory", exhausted.message);
    if (invalid) throw new GpuUnavailable("invalid", invalid.message);
  };

  const compile = async (h: number, w: number, b: number, training: boolean): Promise<Compiled> => {
    const key = `${h}x${w}x${b} ${training}`;
    const known = compiled.get(key);
    if (known) {
      await known.program.prepare();
      return known;
    }
    const { graph, pixels, labels, result } = training
      ? unitGraph(config, h, w, b)
      : predictionGraph(config, h, w, b);
    const program = createProgram(planned(graph), host);
    await program.prepare();
    const bytes = Math.ceil(program.region(result).bytes / 16) * 16;
    const made: Compiled = {
      ...{ program, pixels, labels, result, submits: 1 },
      readBack: await createReadBack(device, pipelines, unit, bytes),
    };
    compiled.set(key, made);
    return made;
  };

  /** Uploads a batch, runs its program and whatever `after` records, and reads the result. */
  const compute = async (
    unitOf: Compiled,
    batch: Batch,
    after?: (encoder: GPUCommandEncoder) => void,
  ): Promise<{ result: Float32Array; computeMs: number }> => {
    const started = performance.now();
    const { program, readBack } = unitOf;
    const write = (id: ValueId, values: Float32Array<ArrayBuffer>) => {
      const { buffer, offset } = program.region(id);
      device.queue.writeBuffer(buffer, offset, values);
    };
    token = (token + 1) >>> 0;
    device.queue.writeBuffer(unit, 0, new Uint32Array([batch.seed >>> 0, token]));
    write(unitOf.pixels, batch.pixels as Float32Array<ArrayBuffer>);
    if (unitOf.labels !== undefined) write(unitOf.labels, Float32Array.from(batch.labels));
    let submits = 1;
    let encoder = device.createCommandEncoder();
    encoder = program.encode(encoder, unitOf.submits, () => {
      device.queue.submit([encoder.finish()]);
      submits++;
      encoder = device.createCommandEncoder();
      return encoder;
    });
    after?.(encoder);
    readBack.encode(encoder, [program.region(unitOf.result)]);
    device.queue.submit([encoder.finish()]);
    const [result] = await readBack.read(token);
    const computeMs = performance.now() - started;
    last = { dispatches: program.dispatches.length, submits };
    unitOf.submits = Math.max(1, Math.ceil(computeMs / SUBMIT_MS));
    return { result, computeMs };
  };

  const startNode = (): NodeAccumulator => {
    sum.clear();
    const total = { samples: 0, loss: 0, top1: 0, top5: 0 };
    const sizes = new Map<string, readonly [number, number]>();
    return {
      add: (batch, signal) =>
        guarded(async (): Promise<UnitReport> => {
          signal?.throwIfAborted();
          const samples = checkBatch(batch, config.classes);
          const unitOf = await compile(batch.height, batch.width, samples, true);
          await sum.prepare(sum.units + 1);
          signal?.throwIfAborted();
          const { result, computeMs } = await compute(unitOf, batch, (encoder) =>
            sum.add(encoder, samples),
          );
          const [loss, top1, top5] = result;
          if (!Number.isFinite(loss))
            throw new UnsafeNumbersError(
              "nonfinite",
              `the loss of a unit of ${samples} samples at ${batch.height}x${batch.width} is ${loss}; if it repeats on another device the weights diverged, else restart this one`,
            );
          sizes.set(`${batch.height}x${batch.width}`, [batch.height, batch.width]);
          total.samples += samples;
          total.loss += loss;
          total.top1 += top1;
          total.top5 += top5;
          return { loss, top1, top5, computeMs };
        }),
      finish: () =>
        guarded(async (): Promise<NodeGradient> => {
          if (sum.units === 0) throw new Error("a node was finished before any unit was added");
          const { parameters, statistics } = weights;
          const bytes = [parameters.length * 4, statistics.length * 4];
          nodeReadBack ??= await createReadBack(device, pipelines, unit, bytes[0] + bytes[1]);
          const encoder = device.createCommandEncoder();
          sum.fold(encoder);
          token = (token + 1) >>> 0;
          device.queue.writeBuffer(unit, 0, new Uint32Array([0, token]));
          nodeReadBack.encode(
            encoder,
            sum.sums().map((buffer, i) => ({ buffer, offset: 0, bytes: bytes[i] })),
          );
          device.queue.submit([encoder.finish()]);
          const [gradient, moments] = await nodeReadBack.read(token);
          sum.clear();
          const torch = fromDevice(parameters, gradient);
          for (const [height, width] of sizes.values())
            checkUnit(weights.table, height, width, total.loss, torch);
          return {
            ...total,
            gradient: torch,
            statistics: fromDevice(statistics, moments),
          };
        }),
      abandon: () => sum.clear(),
    };
  };

  const info: ExecutorInfo = {
    executor: "webgpu",
    description: `webgpu on ${options.adapterName}`,
    deterministic: false,
    software: options.software,
  };
  return {
    info,
    setWeights: (parameters, statistics) =>
      guarded(async () => {
        expectLength("parameters", parameters, weights.table.parameterCount);
        if (statistics)
          expectLength("running statistics", statistics, weights.table.statisticsCount);
        weights.upload(parameters, statistics);
      }),
    startNode,
    predict: (batch) =>
      guarded(async () => {
        const samples = batch.pixels.length / (batch.height * batch.width * 3);
        const unitOf = await compile(batch.height, batch.width, samples, false);
        const { result } = await compute(unitOf, batch);
        return result.slice(0, samples * config.classes);
      }),
    plannedBytes(height, width, batch) {
      const graph = planned(trainingGraph(config, height, width, batch).graph);
      const needs = neededBuffers(graph, lower(graph, kernels).scratchBytes);
      return [...needs.values()].reduce((total, bytes) => total + bytes, 0);
    },
    counts: () => ({ ...last, pipelines: pipelines.count, bytes: memory.bytes }),
    async close() {
      for (const { program, readBack } of compiled.values()) {
        program.close();
        readBack.close();
      }
      nodeReadBack?.close();
      for (const part of [sum, weights, memory]) part.close();
      unit.destroy();
      device.destroy();
    },
  };
}

interface Network {
  readonly graph: Graph;
  readonly pixels: ValueId;
  readonly labels: ValueId | undefined;
  readonly result: ValueId;
}

function unitGraph(config: ModelConfig, h: number, w: number, b: number): Network {
  const { graph, pixels, labels, report } = trainingGraph(config, h, w, b);
  return { graph, pixels, labels, result: report };
}

function predictionGraph(config: ModelConfig, h: number, w: number, b: number): Network {
  const { graph, pixels, logits } = evaluationGraph(config, h, w, b);
  return { graph, pixels, labels: undefined, result: logits };
}

function planned(graph: Graph): Plan {
  return plan(fuseAdditions(graph), { buffers: 2, apart: true });
}

/** The number of samples of a training batch whose parts agree. */
function checkBatch({ height, width, pixels, labels }: Batch, classes: number): number {
  if (pixels.length !== labels.length * height * width * 3)
    throw new Error(
      `a batch of ${labels.length} labels at ${height}x${width} needs ${labels.length * height * width * 3} pixel values, got ${pixels.length}`,
    );
  const wrong = labels.find((label) => !(label >= 0 && label < classes));
  if (wrong !== undefined)
    throw new Error(`label ${wrong} is not a class of this model (0 to ${classes - 1})`);
  return labels.length;
}

function expectLength(what: string, vector: Float32Array, length: number): void {
  if (vector.length !== length)
    throw new Error(`expected ${length} ${what} for this model, got ${vector.length}`);
}
