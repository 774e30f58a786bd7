import type { Executor, ModelConfig } from "@swarmvit/worker/engine/executor";
import { createTfjsExecutor } from "@swarmvit/worker/engine/tfjs/executor";
import { openTfjsRunGraph } from "@swarmvit/worker/engine/tfjs/interpreter";
import { describe, expect, it } from "vitest";
import { failures } from "../../support/allclose.ts";
import { readGolden } from "../../support/golden-files.ts";
import {
  checkActivations,
  checkExecutor,
  NETWORKS,
  openNetwork,
} from "../../support/oracle-network.ts";

const CASES = [
  ...NETWORKS.map((name) => ["wasm", name] as const),
  ["cpu", "cls_xxs_4x3x64x64"] as const,
];

describe.each(CASES)("TF.js %s agrees with the oracle on %s", (backend, name) => {
  it("in logits and activations, training and evaluating", async () => {
    const network = await openNetwork(readGolden, name);
    const checks = await checkActivations(await openTfjsRunGraph(backend), network);
    expect(failures(checks)).toEqual([]);
    expect(checks.length).toBe(2 + 2 * 8 * 5);
  });

  it("in loss, gradients, statistics and predictions", async () => {
    const network = await openNetwork(readGolden, name);
    await withExecutor(network.config, backend, async (executor) => {
      const checks = await checkExecutor(executor, network);
      expect(failures(checks)).toEqual([]);
      expect(checks.length).toBeGreaterThan(5 * network.table.parameters.length);
    });
  });
});

async function withExecutor(
  config: ModelConfig,
  backend: "cpu" | "wasm",
  use: (executor: Executor) => Promise<void>,
): Promise<void> {
  const executor = await createTfjsExecutor(config, backend);
  try {
    await use(executor);
  } finally {
    await executor.close();
  }
}
