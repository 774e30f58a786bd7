/** Compiled kernels of a device: each key once, whatever the sizes it is used at. */

import { GpuUnavailable } from "./device.ts";
import type { Kernel } from "./kernel.ts";

export interface Pipelines {
  /** Compiles what is missing, all at once. */
  prepare(kernels: Iterable<Kernel>): Promise<void>;
  pipeline(kernel: Kernel): GPUComputePipeline;
  layout(kernel: Kernel): GPUBindGroupLayout;
  /** How many have been compiled. */
  readonly count: number;
}

/** An empty cache. */
export function createPipelines(device: GPUDevice): Pipelines {
  const pipelines = new Map<string, GPUComputePipeline>();
  const layouts = new Map<string, GPUBindGroupLayout>();
  const layout = ({ access }: Kernel): GPUBindGroupLayout => {
    const key = access.join();
    const known = layouts.get(key);
    if (known) return known;
    const visibility = GPUShaderStage.COMPUTE;
    const made = device.createBindGroupLayout({
      entries: [
        { binding: 0, visibility, buffer: { type: "uniform" } },
        ...access.map((mode, i) => ({
          binding: i + 1,
          visibility,
          buffer: { type: mode === "read" ? ("read-only-storage" as const) : ("storage" as const) },
        })),
      ],
    });
    layouts.set(key, made);
    return made;
  };
  return {
    layout,
    async prepare(kernels) {
      const missing = new Map<string, Kernel>();
      for (const kernel of kernels) if (!pipelines.has(kernel.key)) missing.set(kernel.key, kernel);
      await Promise.all(
        [...missing].map(async ([key, kernel]) => {
          const module = device.createShaderModule({ label: key, code: kernel.code });
          const bindGroupLayouts = [layout(kernel)];
          try {
            const pipeline = await device.createComputePipelineAsync({
              label: key,
              layout: device.createPipelineLayout({ bindGroupLayouts }),
              compute: { module },
            });
            pipelines.set(key, pipeline);
          } catch (error) {
            const { messages } = await module.getCompilationInfo();
            const lines = messages.map(({ lineNum, message }) => `line ${lineNum}: ${message}`);
            throw new GpuUnavailable(
              "invalid",
              `the device refused kernel ${key}: ${error}\n${lines.join("\n")}`,
            );
          }
        }),
      );
    },
    pipeline(kernel) {
      const pipeline = pipelines.get(kernel.key);
      if (!pipeline) throw new Error(`kernel ${kernel.key} was not prepared`);
      return pipeline;
    },
    get count() {
      return pipelines.size;
    },
  };
}
