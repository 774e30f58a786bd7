/** One graph on given values, on a device: what tests of operations use. */

import type { Graph, ValueId } from "../graph.ts";
import { elements } from "../graph-builder.ts";
import { plan } from "../plan.ts";
import type { RunGraph } from "../run-graph.ts";
import { fuseAdditions } from "./fuse.ts";
import type { KernelOptions } from "./kernel-options.ts";
import { createMemory } from "./memory.ts";
import { createPipelines } from "./pipelines.ts";
import { createProgram, type Region } from "./program.ts";
import { createReadBack } from "./read-back.ts";

/** Runs graphs with the kernels of the `webgpu` executor; compiled kernels are kept between runs. */
export function webgpuRunGraph(device: GPUDevice, options: KernelOptions): RunGraph {
  const pipelines = createPipelines(device);
  return async (graph: Graph, inputs, seed = 0) => {
    const memory = createMemory(device);
    const token = 0xca5e;
    const unit = wordsBuffer(device, [seed, token]);
    const lonely = new Map<ValueId, Region>();
    const outside = (id: ValueId): Region => {
      const known = lonely.get(id);
      if (known) return known;
      const values = inputs.get(id);
      if (!values) throw new Error(`value ${id} is read but was given no numbers`);
      const made = { buffer: floatsBuffer(device, values), offset: 0, bytes: values.byteLength };
      lonely.set(id, made);
      return made;
    };
    const program = createProgram(plan(fuseAdditions(graph), { buffers: 2, apart: true }), {
      ...{ memory, pipelines, options, unit, outside },
    });
    device.pushErrorScope("validation");
    await program.prepare();
    for (const [id, values] of inputs) {
      const region = program.region(id);
      if (region.buffer.label !== "outside")
        device.queue.writeBuffer(region.buffer, region.offset, new Float32Array(values));
    }
    const regions = graph.outputs.map((id) => program.region(id));
    const bytes = regions.reduce((sum, region) => sum + region.bytes, 0);
    const readBack = await createReadBack(device, pipelines, unit, bytes);
    let encoder = device.createCommandEncoder();
    encoder = program.encode(encoder, 1, () => encoder);
    readBack.encode(encoder, regions);
    device.queue.submit([encoder.finish()]);
    const error = await device.popErrorScope();
    if (error) throw new Error(`the device refused the graph: ${error.message}`);
    const results = await readBack.read(token);
    for (const { buffer } of lonely.values()) buffer.destroy();
    for (const part of [program, readBack, memory]) part.close();
    unit.destroy();
    return new Map(
      graph.outputs.map((id, i) => [id, results[i].subarray(0, elements(graph.values[id].shape))]),
    );
  };
}

function wordsBuffer(device: GPUDevice, words: readonly number[]): GPUBuffer {
  const buffer = device.createBuffer({
    size: 16,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
  });
  device.queue.writeBuffer(buffer, 0, new Uint32Array(words));
  return buffer;
}

function floatsBuffer(device: GPUDevice, values: Float32Array): GPUBuffer {
  const buffer = device.createBuffer({
    label: "outside",
    size: Math.ceil(values.byteLength / 16) * 16,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
  });
  device.queue.writeBuffer(buffer, 0, new Float32Array(values));
  return buffer;
}
