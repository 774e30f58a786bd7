/** The `webgpu` executor: one unit is a few submits of own kernels, one node one read-back. */

import { attentionMap } from "../attention-map.ts";
import { type Executor, type ExecutorInfo, type ModelConfig, samplesOf } from "../executor.ts";
import type { ValueId } from "../graph.ts";
import { trainingGraph } from "../mobilevit.ts";
import type { Plan } from "../plan.ts";
import { createGuard } from "./guard.ts";
import { type KernelOptions, usualKernels } from "./kernel-options.ts";
import { lower } from "./lower.ts";
import { createMemory } from "./memory.ts";
import { createNodeResults, startNode } from "./node.ts";
import { createNodeSum } from "./node-sum.ts";
import { createPipelines, type Pipelines } from "./pipelines.ts";
import { neededBuffers, type ProgramHost, type Region } from "./program.ts";
import { createUnitPrograms, unitPlan } from "./unit-programs.ts";
import { createWeights } from "./weights.ts";

export interface WebgpuOptions {
  readonly adapterName: string;
  readonly software: boolean;
  /** The adapter's usual ones unless given. */
  readonly kernels?: KernelOptions;
  /** Kernels that are compiled already; the device is then shared, and stays open after `close`. */
  readonly pipelines?: Pipelines;
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

/**
 * An executor on an open device, which it owns from now on (but see `pipelines`). Each call may fail with GpuUnavailable:
 * lost device, out of memory, a stale read-back; the worker is then started afresh. Numbers that cannot
 * be right are an UnsafeNumbersError, of the unit (its loss) or of the node (its gradient).
 */
export async function createWebgpuExecutor(
  config: ModelConfig,
  device: GPUDevice,
  options: WebgpuOptions,
): Promise<WebgpuExecutor> {
  const kernels = options.kernels ?? usualKernels(options);
  const memory = createMemory(device);
  const pipelines = options.pipelines ?? createPipelines(device);
  const weights = createWeights(device, config);
  const sum = createNodeSum(memory, pipelines, kernels.workgroup);
  const unit = device.createBuffer({
    label: "unit",
    size: 16,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
  });
  const guard = createGuard(device);
  const program: ProgramHost = {
    ...{ memory, pipelines, unit, options: kernels },
    outside: (id: ValueId, { graph }: Plan): Region => weights.region(graph.values[id]),
  };
  const programs = createUnitPrograms(config, program);
  const results = createNodeResults(program, weights);

  const info: ExecutorInfo = {
    executor: "webgpu",
    description: `webgpu on ${options.adapterName}`,
    deterministic: false,
    software: options.software,
  };
  return {
    info,
    setWeights: (parameters, statistics) =>
      guard.run(async () => {
        expectLength("parameters", parameters, weights.table.parameterCount);
        if (statistics)
          expectLength("running statistics", statistics, weights.table.statisticsCount);
        weights.set(parameters, statistics);
      }),
    startNode: () => startNode({ ...program, config, guard, weights, sum, programs, results }),
    predict: (batch) =>
      guard.run(async () => {
        const { height, width } = batch;
        const samples = samplesOf(batch);
        weights.need("evaluation");
        const { result } = await programs.compute(
          await programs.of(height, width, samples, "evaluation"),
          batch,
        );
        return result.slice(0, samples * config.classes);
      }),
    attention: (batch, place) =>
      guard.run(async () => {
        const { height, width } = batch;
        const samples = samplesOf(batch);
        weights.need("evaluation");
        const { result } = await programs.compute(
          await programs.of(height, width, samples, place),
          batch,
        );
        return attentionMap(result, samples, config.variant, place);
      }),
    plannedBytes(height, width, batch) {
      const plan = unitPlan(trainingGraph(config, height, width, batch).graph);
      const needs = neededBuffers(plan, lower(plan, kernels).scratchBytes);
      // Beside the unit: the weights, and the node that its results are added to.
      const resident = 2 * 4 * (weights.parameters.length + weights.statistics.length);
      return [...needs.values()].reduce((total, bytes) => total + bytes, resident);
    },
    counts: () => ({ ...programs.counts, pipelines: pipelines.count, bytes: memory.bytes }),
    async close() {
      for (const part of [programs, results, sum, weights, memory]) part.close();
      unit.destroy();
      if (!options.pipelines) device.destroy();
    },
  };
}

function expectLength(what: string, vector: Float32Array, length: number): void {
  if (vector.length !== length)
    throw new Error(`expected ${length} ${what} for this model, got ${vector.length}`);
}
