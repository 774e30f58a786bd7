/** The part of `engine-webgpu.ts` that runs where WebGPU is: in Deno or in a page. */

import { parameterTable } from "@swarmvit/shared/parameters";
import { fill } from "@swarmvit/shared/random";
import type { VariantName } from "@swarmvit/shared/variants";
import { trainingGraph } from "@swarmvit/worker/engine/mobilevit";
import { plan } from "@swarmvit/worker/engine/plan";
import { openDevice } from "@swarmvit/worker/engine/webgpu/device";
import type { Dispatch } from "@swarmvit/worker/engine/webgpu/dispatch";
import { createWebgpuExecutor } from "@swarmvit/worker/engine/webgpu/executor";
import { fuseAdditions } from "@swarmvit/worker/engine/webgpu/fuse";
import {
  HARDWARE_KERNELS,
  type KernelOptions,
  SOFTWARE_KERNELS,
} from "@swarmvit/worker/engine/webgpu/kernel-options";
import { createMemory } from "@swarmvit/worker/engine/webgpu/memory";
import { createPipelines } from "@swarmvit/worker/engine/webgpu/pipelines";
import { createProgram } from "@swarmvit/worker/engine/webgpu/program";
import { createWeights } from "@swarmvit/worker/engine/webgpu/weights";

export interface Settings {
  readonly variant: VariantName;
  readonly size: number;
  readonly batch: number;
  readonly steps: number;
  /** Also time every kernel by itself. */
  readonly kernels: boolean;
  /** Replaces some of the adapter's kernel options. */
  readonly options: Partial<KernelOptions>;
}

/** One row of `npm run bench`, and where the time goes. */
export interface Row {
  readonly executor: "webgpu";
  readonly adapter: string;
  readonly variant: VariantName;
  readonly height: number;
  readonly width: number;
  readonly batch: number;
  /** Best and median step after the first, and the first with all compiling. */
  readonly ms: number;
  readonly medianMs: number;
  readonly firstMs: number;
  readonly imagesPerSecond: number;
  readonly dispatches: number;
  readonly submits: number;
  readonly pipelines: number;
  readonly arenaBytes: number;
  readonly kernels: readonly KernelTime[];
}

export interface KernelTime {
  readonly kernel: string;
  readonly dispatches: number;
  readonly ms: number;
}

/** Loss and all gradients of one unit, several times. */
export async function measure(settings: Settings): Promise<Row> {
  const { variant, size, batch, steps } = settings;
  const { device, adapterName, software } = await openDevice();
  const kernels = { ...(software ? SOFTWARE_KERNELS : HARDWARE_KERNELS), ...settings.options };
  const config = { variant, classes: 1000, dropout: 0.05, headDropout: 0.1, smoothing: 0.1 };
  const started = performance.now();
  const executor = await createWebgpuExecutor(config, device, { adapterName, software, kernels });
  await executor.setWeights(fill("weights", parameterTable(variant, 1000).parameterCount, 0, 0.1));
  const unit = {
    height: size,
    width: size,
    pixels: fill("pixels", batch * size * size * 3, 0.5, 0.5),
    labels: Int32Array.from({ length: batch }, (_, i) => i % 1000),
    seed: 1,
  };
  const node = executor.startNode();
  await node.add(unit);
  const firstMs = performance.now() - started;
  const times: number[] = [];
  for (let i = 0; i < steps; i++) {
    const begun = performance.now();
    await node.add(unit);
    times.push(performance.now() - begun);
  }
  times.sort((a, b) => a - b);
  const { dispatches, submits, pipelines } = executor.counts();
  const arenaBytes = executor.plannedBytes(size, size, batch);
  await executor.close();
  const ms = times[0];
  return {
    ...{ executor: "webgpu", adapter: adapterName, variant, height: size, width: size, batch },
    ...{ ms, medianMs: times[times.length >> 1], firstMs, imagesPerSecond: (batch / ms) * 1000 },
    ...{ dispatches, submits, pipelines, arenaBytes },
    kernels: settings.kernels ? await timeKernels(settings, kernels) : [],
  };
}

/** Best time of all dispatches of each kernel; includes what a submit of its own costs. */
async function timeKernels(settings: Settings, options: KernelOptions): Promise<KernelTime[]> {
  const { variant, size, batch } = settings;
  const { device } = await openDevice();
  const config = { variant, classes: 1000, dropout: 0.05, headDropout: 0.1, smoothing: 0.1 };
  const { graph } = trainingGraph(config, size, size, batch);
  const memory = createMemory(device);
  const pipelines = createPipelines(device);
  const weights = createWeights(device, config);
  const unit = device.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE });
  const program = createProgram(plan(fuseAdditions(graph), { buffers: 2, apart: true }), {
    ...{ memory, pipelines, options, unit },
    outside: (id) => weights.region(graph.values[id]),
  });
  await program.prepare();
  const time = async (chosen: (dispatch: Dispatch) => boolean) => {
    const encoder = device.createCommandEncoder();
    program.encodeOnly(encoder, chosen, 2);
    const begun = performance.now();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    return (performance.now() - begun) / 2;
  };
  const counts = new Map<string, number>();
  for (const { kernel } of program.dispatches)
    counts.set(kernel.key, (counts.get(kernel.key) ?? 0) + 1);
  const rows: KernelTime[] = [];
  for (const [kernel, dispatches] of counts) {
    const chosen = (dispatch: Dispatch) => dispatch.kernel.key === kernel;
    let ms = await time(chosen);
    for (let i = 0; i < 3; i++) ms = Math.min(ms, await time(chosen));
    rows.push({ kernel, dispatches, ms });
  }
  device.destroy();
  return rows.sort((a, b) => b.ms - a.ms);
}

interface Host {
  readonly Deno?: { readonly args: readonly string[] };
}
const { Deno } = globalThis as Host;
if (Deno) console.log(JSON.stringify(await measure(JSON.parse(Deno.args[0]) as Settings)));
