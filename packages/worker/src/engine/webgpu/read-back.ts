/** Reading results from a device, with a canary that shows that they are fresh. */

import { u24 } from "@swarmvit/shared/random";
import { GpuUnavailable } from "./device.ts";
import { createFixedDispatch } from "./fixed-dispatch.ts";
import type { Kernel } from "./kernel.ts";
import { CANARY_SITE, canaryKernel } from "./kernels/sums.ts";
import type { Pipelines } from "./pipelines.ts";
import type { Region } from "./program.ts";

/** Bytes of the canary before the results. */
const HEAD = 16;

export interface ReadBack {
  /** Records the canary of `token` (the unit's second word) and copies of the regions. */
  encode(encoder: GPUCommandEncoder, regions: readonly Region[]): void;
  /** Waits for what was submitted; one array a region. GpuUnavailable if the canary is not `token`'s. */
  read(token: number): Promise<Float32Array[]>;
  close(): void;
}

/** A read-back of at most `bytes` bytes; it owns its staging buffer. */
export async function createReadBack(
  device: GPUDevice,
  pipelines: Pipelines,
  unit: GPUBuffer,
  bytes: number,
): Promise<ReadBack> {
  const kernel: Kernel = canaryKernel(1);
  await pipelines.prepare([kernel]);
  const staging = device.createBuffer({
    label: "read-back",
    size: HEAD + bytes,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
  const canary = device.createBuffer({
    size: HEAD,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
  });
  const mark = createFixedDispatch(device, pipelines, kernel, [1], [unit, canary]);
  let lengths: number[] = [];
  return {
    encode(encoder, regions) {
      const pass = encoder.beginComputePass();
      mark.record(pass);
      pass.end();
      encoder.copyBufferToBuffer(canary, 0, staging, 0, HEAD);
      let at = HEAD;
      lengths = regions.map(({ buffer, offset, bytes: length }) => {
        encoder.copyBufferToBuffer(buffer, offset, staging, at, length);
        at += length;
        return length;
      });
    },
    async read(token) {
      const total = lengths.reduce((sum, length) => sum + length, HEAD);
      try {
        await staging.mapAsync(GPUMapMode.READ, 0, total);
      } catch (error) {
        throw new GpuUnavailable("lost", `the GPU went away before it answered: ${error}`);
      }
      const mapped = staging.getMappedRange(0, total);
      const seen = new Float32Array(mapped, 0, 1)[0];
      let at = HEAD;
      const results = lengths.map((length) => {
        const part = new Float32Array(mapped.slice(at, at + length));
        at += length;
        return part;
      });
      staging.unmap();
      const expected = u24(token, CANARY_SITE);
      if (seen !== expected)
        throw new GpuUnavailable(
          "wrong-numbers",
          `the device's read-back is stale: expected the mark ${expected}, got ${seen}; restart the worker`,
        );
      return results;
    },
    close() {
      for (const buffer of [staging, canary]) buffer.destroy();
      mark.close();
    },
  };
}
