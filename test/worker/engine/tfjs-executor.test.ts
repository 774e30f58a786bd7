import { parameterTable } from "@swarmvit/shared/parameters";
import { fill, uniform } from "@swarmvit/shared/random";
import type { Batch, ModelConfig } from "@swarmvit/worker/engine/executor";
import { createGraphBuilder } from "@swarmvit/worker/engine/graph-builder";
import { dropoutMask } from "@swarmvit/worker/engine/tfjs/context";
import { createTfjsExecutor } from "@swarmvit/worker/engine/tfjs/executor";
import { openTfjsRunGraph } from "@swarmvit/worker/engine/tfjs/interpreter";
import { createTreeSum } from "@swarmvit/worker/engine/tree-sum";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, it } from "vitest";
import { maxError, maxMagnitude, sameBits } from "../../support/allclose.ts";
import { differentiate } from "../../support/differentiate.ts";

const CONFIG: ModelConfig = {
  variant: "xxs",
  classes: 10,
  dropout: 0.05,
  headDropout: 0.1,
  smoothing: 0.1,
};
const table = parameterTable("xxs", 10);

function weights(): Float32Array {
  const parameters = fill("weights", table.parameterCount, 0, 0.2);
  for (const { kind, offset, size } of table.parameters)
    if (kind.endsWith("gamma")) parameters.fill(1, offset, offset + size);
  return parameters;
}

function statistics(): Float32Array {
  const running = new Float32Array(table.statisticsCount);
  for (const { kind, offset, size } of table.statistics)
    if (kind === "bn_var") running.fill(1, offset, offset + size);
  return running;
}

function batchOf(height: number, width: number, samples: number, seed: number): Batch {
  return {
    height,
    width,
    pixels: fill(`pixels/${seed}`, samples * height * width * 3, 0.5, 0.5),
    labels: Int32Array.from({ length: samples }, (_, i) => (i + seed) % 10),
    seed,
  };
}

describe("the TF.js executor on wasm", () => {
  it("adds units of different sizes in tree order, and reports each", async () => {
    const executor = await createTfjsExecutor(CONFIG, "wasm");
    await executor.setWeights(weights());
    const batches = [batchOf(32, 32, 4, 1), batchOf(48, 40, 2, 2), batchOf(32, 32, 4, 3)];
    const alone = createTreeSum();
    for (const batch of batches) {
      const node = executor.startNode();
      await node.add(batch);
      alone.add(await node.finish());
    }
    const together = executor.startNode();
    const reports = [];
    for (const batch of batches) reports.push(await together.add(batch));
    const node = await together.finish();
    const expected = alone.finish();
    expect(sameBits(node.gradient, expected.gradient)).toBe(true);
    expect(sameBits(node.statistics, expected.statistics)).toBe(true);
    expect([node.loss, node.top1, node.top5]).toEqual([
      expected.loss,
      expected.top1,
      expected.top5,
    ]);
    expect(node.samples).toBe(10);
    expect(node.loss).toBeCloseTo(
      reports.reduce((sum, { loss }) => sum + loss, 0),
      6,
    );
    for (const { computeMs } of reports) expect(computeMs).toBeGreaterThan(0);
    await executor.close();
  });

  it("keeps no tensor of a unit, and none at all once closed", async () => {
    const before = tf.memory().numTensors;
    const executor = await createTfjsExecutor(CONFIG, "wasm");
    await executor.setWeights(weights(), statistics());
    const sizes = [
      [32, 32],
      [40, 48],
    ];
    const step = async (i: number) => {
      const node = executor.startNode();
      for (const [h, w] of sizes) await node.add(batchOf(h, w, 2, i));
      await node.finish();
      await executor.predict(batchOf(40, 40, 1, i));
      await executor.setWeights(weights(), statistics());
      return tf.memory().numTensors;
    };
    const first = await step(0);
    expect(await step(1)).toBe(first);
    expect(await step(2)).toBe(first);
    await executor.close();
    expect(tf.memory().numTensors).toBe(before);
  });

  it("repeats a unit bit for bit, and depends on its seed", async () => {
    const executor = await createTfjsExecutor(CONFIG, "wasm");
    await executor.setWeights(weights());
    const gradientOf = async (batch: Batch) => {
      const node = executor.startNode();
      await node.add(batch);
      return (await node.finish()).gradient;
    };
    const batch = batchOf(32, 40, 3, 5);
    const gradient = await gradientOf(batch);
    expect(sameBits(await gradientOf(batch), gradient)).toBe(true);
    expect(sameBits(await gradientOf({ ...batch, seed: 6 }), gradient)).toBe(false);
    await executor.close();
  });

  it("says what is missing or wrong", async () => {
    const executor = await createTfjsExecutor(CONFIG, "wasm");
    const batch = batchOf(32, 32, 2, 1);
    await expect(executor.startNode().add(batch)).rejects.toThrow(/no weights/);
    await executor.setWeights(weights());
    await expect(executor.predict(batch)).rejects.toThrow(/running statistics/);
    await expect(executor.startNode().add({ ...batch, labels: Int32Array.of(1) })).rejects.toThrow(
      /expected pixels/,
    );
    const broken = weights();
    broken[100] = Number.NaN;
    await executor.setWeights(broken);
    await expect(executor.startNode().add(batch)).rejects.toThrow(/loss .* NaN/);
    await expect(executor.startNode().add(batch, AbortSignal.abort())).rejects.toThrow(/abort/i);
    await executor.close();
  });
});

describe("the planned memory", () => {
  it("grows with the size and the batch", async () => {
    const executor = await createTfjsExecutor(CONFIG, "cpu");
    const small = executor.plannedBytes(64, 64, 8);
    expect(executor.plannedBytes(64, 64, 16)).toBeGreaterThan(1.7 * small);
    expect(executor.plannedBytes(128, 128, 8)).toBeGreaterThan(3 * small);
    await executor.close();
  });
});

describe.each(["cpu", "wasm"] as const)("dropout on %s", (backend) => {
  it("drops by the shared hash, forward and backward alike", async () => {
    const run = await openTfjsRunGraph(backend);
    const [shape, p, seed] = [[4, 50, 8], 0.25, 77];
    const n = 4 * 50 * 8;
    const data = Float32Array.from({ length: n }, (_, i) => 1 + uniform(1, i));
    const dy = Float32Array.from({ length: n }, (_, i) => 1 + uniform(2, i));
    const { y, dx } = await differentiate(run, {
      x: { shape, data },
      parameters: new Map(),
      build: (g, x) => g.dropout(x, undefined, p, "dropout/here"),
      dy,
      seed,
    });
    const mask = dropoutMask(seed, "dropout/here", p, shape);
    expect(
      maxError(
        y,
        data.map((x, i) => x * mask[i]),
      ),
    ).toBeLessThan(1e-6);
    expect(
      maxError(
        dx,
        dy.map((g, i) => g * mask[i]),
      ),
    ).toBeLessThan(1e-6);
    const kept = mask.filter((m) => m > 0).length / n;
    expect(Math.abs(kept - 0.75)).toBeLessThan(0.04);
    expect(maxMagnitude(mask)).toBeCloseTo(4 / 3, 6);
  });

  it("is nothing in evaluation", () => {
    const g = createGraphBuilder(false);
    const x = g.input("x", [2, 3]);
    expect(g.dropout(x, undefined, 0.5, "here")).toBe(x);
  });
});
