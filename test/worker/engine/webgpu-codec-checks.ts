/** Gradients encoded on a device against the processor's codec: the same bytes. */

import { CODECS, encodedGradientBytes, encodeGradient } from "@swarmvit/shared/codec";
import { BLOCK_VALUES } from "@swarmvit/shared/int8";
import { type ParameterTable, parameterTable } from "@swarmvit/shared/parameters";
import { hash32, uniform } from "@swarmvit/shared/random";
import { createGradientEncoder } from "@swarmvit/worker/engine/webgpu/gradient-encoder";
import { createPipelines } from "@swarmvit/worker/engine/webgpu/pipelines";
import { paddedLayout, toDevice } from "@swarmvit/worker/engine/webgpu/weights";
import { type Check, check } from "../../support/allclose.ts";

/** Classes that are no multiple of four, among others: the last words are not full. */
const TABLES = [parameterTable("xxs", 7), parameterTable("xs", 10), parameterTable("s", 102)];

/** One check a codec and table: how many bytes differ. */
export async function checkCodecs(device: GPUDevice): Promise<Check[]> {
  const pipelines = createPipelines(device);
  const found: Check[] = [];
  for (const [seed, table] of TABLES.entries()) {
    const layout = paddedLayout(table.parameters);
    const gradient = gradientOf(table, seed);
    const values = device.createBuffer({
      size: layout.length * 4,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
    });
    device.queue.writeBuffer(values, 0, toDevice(layout, gradient));
    for (const codec of CODECS) {
      const encoder = createGradientEncoder(device, pipelines, codec, table, layout, 64);
      await encoder.prepare();
      const commands = device.createCommandEncoder();
      encoder.encode(commands, values);
      const bytes = encodedGradientBytes(codec, table);
      const staging = device.createBuffer({
        size: bytes,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      });
      commands.copyBufferToBuffer(encoder.result.buffer, 0, staging, 0, bytes);
      device.queue.submit([commands.finish()]);
      await staging.mapAsync(GPUMapMode.READ);
      const got = new Uint8Array(staging.getMappedRange());
      const want = encodeGradient(codec, table, gradient);
      let wrong = Math.abs(got.length - want.length);
      for (let i = 0; i < want.length; i++) if (got[i] !== want[i]) wrong++;
      staging.destroy();
      encoder.close();
      found.push(check(`wrong bytes of ${table.variant} as ${codec}`, wrong, 0));
    }
    values.destroy();
  }
  return found;
}

/**
 * Every kind of block that a codec treats apart: magnitudes over float32's whole range, subnormal
 * numbers, zeros of both signs, ties, and a few blocks with a NaN or an infinity.
 */
function gradientOf(table: ParameterTable, seed: number): Float32Array {
  const gradient = new Float32Array(table.parameterCount);
  for (const { offset, size } of table.parameters)
    for (let first = offset; first < offset + size; first += BLOCK_VALUES) {
      const block = gradient.subarray(first, Math.min(first + BLOCK_VALUES, offset + size));
      fillBlock(block, hash32(seed, first));
    }
  return gradient;
}

function fillBlock(block: Float32Array, seed: number): void {
  const kind = seed % 16;
  const top = 2 ** (Math.floor(uniform(seed, 1) * 274) - 146);
  for (let i = 0; i < block.length; i++) {
    const spread = 10 ** -Math.floor(5 * uniform(seed + 1, i));
    block[i] = top * spread * (2 * uniform(seed + 2, i) - 1);
    // With 127 as the largest the scale is 1, so that halves are ties; powers of two keep them so.
    if (kind < 4) block[i] = top * (Math.floor(255 * uniform(seed + 3, i)) / 2 - 63.5);
    if (uniform(seed + 4, i) < 0.05) block[i] = uniform(seed + 5, i) < 0.5 ? 0 : -0;
  }
  if (kind < 4) block[0] = top * 127;
  if (kind === 4) block.fill(0);
  if (seed % 97 === 5) block[block.length >> 1] = Number.NaN;
  if (seed % 97 === 6) block[block.length >> 1] = -Infinity;
}
