/** Buffers that all sizes of a model share: they grow to the largest and then stay. */

import { GpuUnavailable } from "./device.ts";

/** Names a buffer: `arena0`, `gradient`, `scratch2`, … */
export type BufferName = string;

export interface Memory {
  readonly device: GPUDevice;
  /** Counts replacements of buffers: bind groups made at an older count are stale. */
  readonly generation: number;
  /** Bytes of all buffers now. */
  readonly bytes: number;
  /** Makes each named buffer at least so large. */
  reserve(needs: ReadonlyMap<BufferName, number>): Promise<void>;
  buffer(name: BufferName): GPUBuffer;
  close(): void;
}

/** Memory without buffers yet. */
export function createMemory(device: GPUDevice): Memory {
  const buffers = new Map<BufferName, GPUBuffer>();
  let generation = 0;
  let bytes = 0;
  return {
    device,
    get generation() {
      return generation;
    },
    get bytes() {
      return bytes;
    },
    async reserve(needs) {
      const grown = [...needs].filter(([name, size]) => (buffers.get(name)?.size ?? 0) < size);
      if (grown.length === 0) return;
      device.pushErrorScope("out-of-memory");
      device.pushErrorScope("validation");
      for (const [name, size] of grown) {
        const old = buffers.get(name);
        if (old) bytes -= old.size;
        old?.destroy();
        const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
        const buffer = device.createBuffer({
          label: name,
          size: Math.ceil(size / 256) * 256,
          usage,
        });
        buffers.set(name, buffer);
        bytes += buffer.size;
      }
      generation++;
      const [refused, exhausted] = [await device.popErrorScope(), await device.popErrorScope()];
      const error = exhausted ?? refused;
      if (!error) return;
      // What was refused is no buffer: a smaller size may still fit.
      for (const [name] of grown) {
        bytes -= buffers.get(name)?.size ?? 0;
        buffers.get(name)?.destroy();
        buffers.delete(name);
      }
      const sizes = grown.map(([name, size]) => `${name} ${Math.ceil(size / 2 ** 20)} MiB`);
      throw new GpuUnavailable(
        "out-of-memory",
        `the GPU refused memory for this size (${sizes.join(", ")}): ${error.message}`,
      );
    },
    buffer(name) {
      const buffer = buffers.get(name);
      if (!buffer) throw new Error(`no buffer is named ${name}; reserve it first`);
      return buffer;
    },
    close() {
      for (const buffer of buffers.values()) buffer.destroy();
      buffers.clear();
    },
  };
}
