/** The sums of a node on the device, taken in tree order: a binary counter of buffers. */

import type { Kernel } from "./kernel.ts";
import { accumulateKernel } from "./kernels/sums.ts";
import type { Memory } from "./memory.ts";
import type { Pipelines } from "./pipelines.ts";

/** Vectors of four that one invocation adds. */
const PER = 4;

/** What is added: the unit's gradients as they are, its statistics times its samples. */
const PARTS = ["gradient", "statistic"] as const;

export interface NodeSum {
  /** Compiles kernels; to be awaited once the unit's buffers exist. */
  prepare(units: number): Promise<void>;
  /** Records adding the unit that was just computed. */
  add(encoder: GPUCommandEncoder, samples: number): void;
  /** Records adding what is left, from the right; the sum is then in `sums`. */
  fold(encoder: GPUCommandEncoder): void;
  /** Buffers of the sum: gradients and statistics. */
  sums(): readonly GPUBuffer[];
  /** Units added so far. */
  readonly units: number;
  clear(): void;
  close(): void;
}

/** An empty sum of units whose results lie in the memory's `gradient` and `statistic` buffers. */
export function createNodeSum(memory: Memory, pipelines: Pipelines, workgroup: number): NodeSum {
  const { device } = memory;
  const [copy, add]: Kernel[] = [true, false].map((mode) => accumulateKernel(mode, workgroup));
  // Levels fall strictly from bottom to top; entry i lies in slot i.
  let levels: number[] = [];
  let units = 0;
  const blocks = new Map<string, GPUBuffer>();
  let groups = new Map<string, GPUBindGroup>();
  let generation = -1;

  const slot = (part: string, i: number) => memory.buffer(`${part} sum ${i}`);
  const vectorsOf = (buffer: GPUBuffer) => buffer.size / 16;
  const block = (key: string, vectors: number, weight: number): GPUBuffer => {
    const known = blocks.get(key);
    const made =
      known ??
      device.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
    blocks.set(key, made);
    const words = new ArrayBuffer(16);
    new Uint32Array(words).set([Math.ceil(vectors / PER), vectors, PER]);
    new Float32Array(words)[3] = weight;
    device.queue.writeBuffer(made, 0, words);
    return made;
  };
  const record = (
    encoder: GPUCommandEncoder,
    kernel: Kernel,
    pairs: readonly { key: string; from: GPUBuffer; to: GPUBuffer; weight: number }[],
  ) => {
    if (generation !== memory.generation) groups = new Map();
    generation = memory.generation;
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipelines.pipeline(kernel));
    for (const { key, from, to, weight } of pairs) {
      const vectors = vectorsOf(from);
      const params = block(key, vectors, weight);
      const known = groups.get(key);
      const group =
        known ??
        device.createBindGroup({
          layout: pipelines.layout(kernel),
          entries: [params, from, to].map((buffer, binding) => ({ binding, resource: { buffer } })),
        });
      groups.set(key, group);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(Math.ceil(Math.ceil(vectors / PER) / workgroup));
    }
    pass.end();
  };
  /** Adds the unit's results into slot `i`, or puts them there. */
  const take = (encoder: GPUCommandEncoder, kernel: Kernel, i: number, samples: number) =>
    record(
      encoder,
      kernel,
      PARTS.map((part) => ({
        key: `${kernel.key} ${part} ${i}`,
        from: memory.buffer(part),
        to: slot(part, i),
        weight: part === "statistic" ? samples : 1,
      })),
    );
  const merge = (encoder: GPUCommandEncoder) => {
    const right = levels.length - 1;
    record(
      encoder,
      add,
      PARTS.map((part) => ({
        key: `merge ${part} ${right}`,
        from: slot(part, right),
        to: slot(part, right - 1),
        weight: 1,
      })),
    );
    levels.pop();
    levels[right - 1]++;
  };

  return {
    async prepare(count) {
      // A counter of n units holds at most log2(n) + 1 entries before the newest is merged.
      const slots = Math.max(1, 32 - Math.clz32(count));
      const needs = PARTS.flatMap((part) =>
        Array.from(
          { length: slots },
          (_, i) => [`${part} sum ${i}`, memory.buffer(part).size] as const,
        ),
      );
      await memory.reserve(new Map(needs));
      await pipelines.prepare([copy, add]);
    },
    add(encoder, samples) {
      units++;
      if (levels.at(-1) !== 0) {
        take(encoder, copy, levels.length, samples);
        levels.push(0);
        return;
      }
      take(encoder, add, levels.length - 1, samples);
      levels[levels.length - 1]++;
      while (levels.length > 1 && levels.at(-1) === levels.at(-2)) merge(encoder);
    },
    fold(encoder) {
      while (levels.length > 1) merge(encoder);
    },
    sums: () => PARTS.map((part) => slot(part, 0)),
    get units() {
      return units;
    },
    clear() {
      levels = [];
      units = 0;
    },
    close() {
      for (const buffer of blocks.values()) buffer.destroy();
    },
  };
}
