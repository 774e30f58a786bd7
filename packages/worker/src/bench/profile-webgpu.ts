/** Times of each kind of operation on the `webgpu` executor's kernels. */

import type { OperationKind } from "../engine/graph.ts";
import { trainingGraph } from "../engine/mobilevit.ts";
import { plan } from "../engine/plan.ts";
import type { OpenDevice } from "../engine/webgpu/device.ts";
import { fuseAdditions } from "../engine/webgpu/fuse.ts";
import { usualKernels } from "../engine/webgpu/kernel-options.ts";
import { createMemory } from "../engine/webgpu/memory.ts";
import { createPipelines } from "../engine/webgpu/pipelines.ts";
import { createProgram } from "../engine/webgpu/program.ts";
import { createWeights } from "../engine/webgpu/weights.ts";
import { gpuLimits } from "./limits.ts";
import { type Profile, profileOf } from "./profile.ts";
import { modelOf, type UnitSize } from "./unit.ts";

const ROUNDS = 4;
/** A submit repeats an operation's dispatches, so that the way there and back weighs less. */
const REPEATS = 4;

/** Runs the dispatches of each kind by themselves, on zeros; the best round counts. Destroys the device. */
export async function profileWebgpu(
  unit: UnitSize,
  { device, ...adapter }: OpenDevice,
): Promise<Profile> {
  const { height, width, batch } = unit;
  const config = modelOf(unit);
  const graph = fuseAdditions(trainingGraph(config, height, width, batch).graph);
  const memory = createMemory(device);
  const weights = createWeights(device, config);
  const words = device.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE });
  const program = createProgram(plan(graph, { buffers: 2, apart: true }), {
    memory,
    pipelines: createPipelines(device),
    options: usualKernels(adapter),
    unit: words,
    outside: (id) => weights.region(graph.values[id]),
  });
  await program.prepare();
  const time = async (kind: OperationKind | undefined) => {
    const encoder = device.createCommandEncoder();
    program.encodeOnly(encoder, (_, i) => program.kinds[i] === kind, REPEATS);
    const started = performance.now();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    return performance.now() - started;
  };
  const bestOf = async (kind: OperationKind | undefined) => {
    let best = await time(kind);
    for (let i = 1; i < ROUNDS; i++) best = Math.min(best, await time(kind));
    return best;
  };
  const empty = await bestOf(undefined);
  const times = new Map<OperationKind, number>();
  for (const kind of new Set(program.kinds)) {
    const ms = await bestOf(kind);
    // What is shorter than the way there and back cannot be told apart from it.
    times.set(kind, Math.max(ms - empty, ms / 4) / REPEATS);
  }
  const profile = profileOf(graph, times, await gpuLimits(device));
  device.destroy();
  return profile;
}
