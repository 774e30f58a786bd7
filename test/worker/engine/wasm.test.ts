import { createHash } from "node:crypto";
import { bytesOf } from "@swarmvit/shared/bytes";
import { uniform } from "@swarmvit/shared/random";
import type { Batch, Executor } from "@swarmvit/worker/engine/executor";
import { createWasmExecutor } from "@swarmvit/worker/engine/wasm/executor";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import { createWasmRunGraph } from "@swarmvit/worker/engine/wasm/run-graph";
import { describe, expect, it } from "vitest";
import { failures } from "../../support/allclose.ts";
import { readGolden } from "../../support/golden-files.ts";
import { checkBlocks } from "../../support/oracle-blocks.ts";
import {
  checkActivations,
  checkExecutor,
  NETWORKS,
  openNetwork,
} from "../../support/oracle-network.ts";
import { checkOperations } from "../../support/oracle-operations.ts";

const THREADS = [1, 2];
const loadModule = loadModuleFromDisk;

/** SHA-256 of a node's gradient and statistics: the same for any threads, in Node and in browsers. */
const GOLDEN_HASH = "34cb0bb4138bb1fdd3950e11e5ac28e27892ced75b9f460e26f5024a94afb087";

/** Three units of a node, at an odd size and an even one, in formula pixels. */
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

async function hashOfNode(executor: Executor): Promise<string> {
  const node = executor.startNode();
  for (const batch of unitsOfNode()) await node.add(batch);
  const { gradient, statistics } = await node.finish();
  return createHash("sha256").update(bytesOf(gradient)).update(bytesOf(statistics)).digest("hex");
}

describe.each(THREADS)("wasm with %d threads agrees with the oracle", (threads) => {
  it("on every operation, block and activation", async () => {
    const { runGraph, close } = await createWasmRunGraph({ threads, loadModule });
    try {
      const operations = await checkOperations(runGraph, readGolden);
      expect(failures(operations)).toEqual([]);
      expect(operations.length).toBeGreaterThan(60);
      const blocks = await checkBlocks(runGraph, readGolden);
      expect(failures(blocks)).toEqual([]);
      expect(blocks.length).toBeGreaterThan(100);
      for (const name of NETWORKS) {
        const checks = await checkActivations(runGraph, await openNetwork(readGolden, name));
        expect(failures(checks)).toEqual([]);
      }
    } finally {
      await close();
    }
  });

  it.each(NETWORKS)("in loss, gradients, statistics and predictions of %s", async (name) => {
    const network = await openNetwork(readGolden, name);
    const executor = await createWasmExecutor(network.config, { threads, loadModule });
    try {
      const checks = await checkExecutor(executor, network);
      expect(failures(checks)).toEqual([]);
      expect(checks.length).toBeGreaterThan(5 * network.table.parameters.length);
    } finally {
      await executor.close();
    }
  });
});

it("gives the same bits with any number of threads, with dropout and odd maps", async () => {
  const network = await openNetwork(readGolden, "cls_xxs_4x3x64x64");
  const config = { ...network.config, dropout: 0.05, headDropout: 0.1 };
  for (const threads of [1, 2, 3]) {
    const executor = await createWasmExecutor(config, { threads, loadModule });
    try {
      await executor.setWeights(network.parameters);
      expect(await hashOfNode(executor), `${threads} threads`).toBe(GOLDEN_HASH);
      expect(await hashOfNode(executor), "again").toBe(GOLDEN_HASH);
    } finally {
      await executor.close();
    }
  }
});
