/** A dispatch outside any plan: one kernel on fixed buffers, with a parameter block of its own. */

import type { Kernel } from "./kernel.ts";
import type { Pipelines } from "./pipelines.ts";

export interface FixedDispatch {
  record(pass: GPUComputePassEncoder): void;
  close(): void;
}

/** Binds a prepared kernel to buffers, in the order of its bindings; `params[0]` is its invocations. */
export function createFixedDispatch(
  device: GPUDevice,
  pipelines: Pipelines,
  kernel: Kernel,
  params: readonly number[],
  buffers: readonly GPUBuffer[],
): FixedDispatch {
  const words = new Uint32Array(Math.ceil(params.length / 4) * 4);
  words.set(params);
  const block = device.createBuffer({
    label: kernel.key,
    size: words.byteLength,
    usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  });
  device.queue.writeBuffer(block, 0, words);
  const group = device.createBindGroup({
    label: kernel.key,
    layout: pipelines.layout(kernel),
    entries: [block, ...buffers].map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  return {
    record(pass) {
      pass.setPipeline(pipelines.pipeline(kernel));
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(Math.ceil(params[0] / kernel.workgroup));
    },
    close: () => block.destroy(),
  };
}
