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
import { GOLDEN_HASH, hashesOfNode } from "./wasm-golden.ts";

const THREADS = [1, 2];
const loadModule = loadModuleFromDisk;

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

it.each([1, 2, 3])("gives the promised bits with %d threads", async (threads) => {
  const hashes = await hashesOfNode(readGolden, { threads, loadModule });
  expect(hashes).toEqual([GOLDEN_HASH, GOLDEN_HASH]);
});

it("computes with relaxed SIMD where that is asked for, and promises no bits", async () => {
  const network = await openNetwork(readGolden, "cls_xxs_4x3x64x64");
  const options = { loadModule, relaxed: true };
  const executor = await createWasmExecutor(network.config, options);
  try {
    expect(executor.info.deterministic).toBe(false);
    expect(failures(await checkExecutor(executor, network))).toEqual([]);
  } finally {
    await executor.close();
  }
  await expect(createWasmExecutor(network.config, { ...options, threads: 2 })).rejects.toThrow(
    /one thread/,
  );
});

it("refuses a unit whose loss is not a number", async () => {
  const network = await openNetwork(readGolden, "cls_xxs_4x3x64x64");
  const executor = await createWasmExecutor(network.config, { loadModule });
  try {
    await expect(executor.startNode().add(network.batch)).rejects.toThrow(/no weights/);
    const parameters = network.parameters.slice();
    parameters[1000] = Number.NaN;
    await executor.setWeights(parameters);
    await expect(executor.predict(network.batch)).rejects.toThrow(/running statistics/);
    await expect(executor.startNode().add(network.batch)).rejects.toThrow(/loss .* NaN/);
    const aborted = executor.startNode().add(network.batch, AbortSignal.abort());
    await expect(aborted).rejects.toThrow(/abort/i);
  } finally {
    await executor.close();
  }
});
