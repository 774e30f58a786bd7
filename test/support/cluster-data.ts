/** A tiny packed dataset and configuration for tests that start a real coordinator. */

import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { effectiveConfig, type RunConfig, runConfigSchema } from "@swarmvit/shared/config";
import { encodeShard } from "@swarmvit/shared/shard";
import { encodePng } from "../../packages/coordinator/src/datasets/png.ts";
import type { PackedData, PackedDataSplit } from "../../packages/coordinator/src/session-plan.ts";

const SIDE = 16;

/** Two classes of grey images, real PNGs: 64 to train on in two shards, 8 to validate on. */
export function packTinyData(directory: string): PackedData {
  mkdirSync(directory, { recursive: true });
  return {
    name: "tiny",
    classes: ["dark", "bright"],
    train: packSplit(directory, 64, 32),
    validation: packSplit(directory, 8, 8),
  };
}

/** Steps of four units of two 32x32 images. */
export function tinyConfig(settings: Partial<RunConfig> = {}): RunConfig {
  return effectiveConfig(
    runConfigSchema.parse({
      epochs: 50,
      batchSize: 8,
      unitSize: 2,
      imgSize: 32,
      scales: "32:32:1",
      evalEvery: 1000,
      maxSteps: 3,
      ...settings,
    }),
  );
}

function packSplit(directory: string, samples: number, shardSamples: number): PackedDataSplit {
  const shards = [];
  for (let first = 0; first < samples; first += shardSamples) {
    const bytes = encodeShard(
      Array.from({ length: shardSamples }, (_, i) => ({
        bytes: imageOf(first + i),
        label: (first + i) % 2,
      })),
    );
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    writeFileSync(join(directory, sha256), bytes);
    shards.push({ sha256, first, count: shardSamples, bytes: bytes.byteLength });
  }
  return { samples, shards };
}

function imageOf(id: number): Uint8Array {
  const pixels = new Uint8Array(SIDE * SIDE);
  for (let i = 0; i < pixels.length; i++) pixels[i] = (id % 2) * 128 + ((i * 7 + id * 13) % 100);
  return encodePng(pixels, SIDE, SIDE, 1);
}
