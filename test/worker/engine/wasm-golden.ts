/**
 * One node whose bits are promised: the same in Node and in browsers, on any number of threads. Runs
 * wherever the kernels can be loaded and the golden files read.
 */

import { bytesOf } from "@swarmvit/shared/bytes";
import { uniform } from "@swarmvit/shared/random";
import type { Batch } from "@swarmvit/worker/engine/executor";
import { createWasmExecutor } from "@swarmvit/worker/engine/wasm/executor";
import type { MachineOptions } from "@swarmvit/worker/engine/wasm/machine";
import type { ReadGolden } from "../../support/fixtures.ts";
import { openNetwork } from "../../support/oracle-network.ts";

/** SHA-256 of the node's gradient and statistics. Portable SIMD only. */
export const GOLDEN_HASH = "b0048a56f438231141b1637a4c7c8c6ed889f6b50a813aba1228c0b180f10a95";

/** Computes the node twice on a new executor; the hash of each time. */
export async function hashesOfNode(read: ReadGolden, options: MachineOptions): Promise<string[]> {
  const network = await openNetwork(read, "cls_xxs_4x3x64x64");
  const config = { ...network.config, dropout: 0.05, headDropout: 0.1 };
  const executor = await createWasmExecutor(config, options);
  try {
    await executor.setWeights(network.parameters);
    const hashes: string[] = [];
    for (let round = 0; round < 2; round++) {
      const node = executor.startNode();
      for (const batch of unitsOfNode()) await node.add(batch);
      const { gradient, statistics } = await node.finish();
      hashes.push(await sha256(bytesOf(gradient), bytesOf(statistics)));
    }
    return hashes;
  } finally {
    await executor.close();
  }
}

/** Three units, at odd maps and even ones, in formula pixels. */
function unitsOfNode(): Batch[] {
  return [
    [72, 40, 3],
    [64, 64, 2],
    [48, 48, 5],
  ].map(([height, width, samples], unit) => ({
    height,
    width,
    pixels: Float32Array.from({ length: samples * height * width * 3 }, (_, i) => uniform(unit, i)),
    labels: Int32Array.from({ length: samples }, (_, i) => (i * 37 + unit) % 1000),
    seed: 100 + unit,
  }));
}

async function sha256(...parts: Uint8Array[]): Promise<string> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const part of parts) {
    whole.set(part, end);
    end += part.length;
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
