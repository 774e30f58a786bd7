/** Every size, from one image in evaluation and two in training: the own kernels against TF.js. */

import { parameterTable } from "@swarmvit/shared/parameters";
import { VARIANTS, type VariantName } from "@swarmvit/shared/variants";
import type { Executor, ModelConfig } from "@swarmvit/worker/engine/executor";
import { formulaBatch, formulaWeights } from "@swarmvit/worker/engine/formula-model";
import { cosineOf } from "@swarmvit/worker/engine/self-test";
import { createTfjsExecutor } from "@swarmvit/worker/engine/tfjs/executor";
import { openTfjsRunGraph } from "@swarmvit/worker/engine/tfjs/interpreter";
import { createWasmExecutor } from "@swarmvit/worker/engine/wasm/executor";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import { createWasmRunGraph } from "@swarmvit/worker/engine/wasm/run-graph";
import fc from "fast-check";
import { expect, it } from "vitest";
import { failures, maxError, maxMagnitude } from "../../support/allclose.ts";
import { readGolden } from "../../support/golden-files.ts";
import { checkAttention, openNetwork } from "../../support/oracle-network.ts";

const CLASSES = 10;
const loadModule = loadModuleFromDisk;

/** Both executors of a model with the same weights. */
async function withBoth(
  variant: VariantName,
  dropout: number,
  work: (wasm: Executor, tfjs: Executor) => Promise<void>,
): Promise<void> {
  const config: ModelConfig = {
    variant,
    classes: CLASSES,
    dropout,
    headDropout: dropout,
    smoothing: 0.1,
  };
  const { parameters, statistics } = formulaWeights(parameterTable(variant, CLASSES));
  const executors = [
    await createWasmExecutor(config, { loadModule, threads: 2 }),
    await createTfjsExecutor(config, "wasm"),
  ] as const;
  try {
    for (const executor of executors) await executor.setWeights(parameters, statistics);
    await work(...executors);
  } finally {
    for (const executor of executors) await executor.close();
  }
}

const sizes = {
  variant: fc.constantFrom<VariantName>("xxs", "xxs", "xs", "s"),
  height: fc.integer({ min: 9, max: 70 }),
  width: fc.integer({ min: 9, max: 70 }),
};

it("trains alike at random sizes, batches and dropouts", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        ...sizes,
        batch: fc.integer({ min: 2, max: 5 }),
        dropout: fc.constantFrom(0, 0.1),
      }),
      ({ variant, height, width, batch, dropout }) =>
        withBoth(variant, dropout, async (wasm, tfjs) => {
          const unit = formulaBatch(variant, height, width, batch, CLASSES);
          const nodes = [];
          for (const executor of [wasm, tfjs]) {
            const node = executor.startNode();
            await node.add(unit);
            nodes.push(await node.finish());
          }
          const [got, want] = nodes;
          expect(Math.abs(got.loss / want.loss - 1)).toBeLessThan(1e-4);
          expect(got.samples).toBe(batch);
          expect(cosineOf(got.gradient, want.gradient)).toBeGreaterThan(0.9999);
          const largest = maxMagnitude(want.gradient);
          expect(maxError(got.gradient, want.gradient)).toBeLessThan(2e-3 * largest);
        }),
    ),
    { numRuns: 5, seed: 17 },
  );
});

it("evaluates alike at random sizes, down to one image without a label", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({ ...sizes, batch: fc.integer({ min: 1, max: 3 }) }),
      ({ variant, height, width, batch }) =>
        withBoth(variant, 0.1, async (wasm, tfjs) => {
          const unit = formulaBatch(variant, height, width, batch, CLASSES);
          const unlabelled = { ...unit, labels: new Int32Array() };
          const want = await tfjs.predict(unlabelled);
          const got = await wasm.predict(unlabelled);
          expect(got).toHaveLength(batch * CLASSES);
          expect(maxError(got, want)).toBeLessThan(1e-3 * Math.max(1, maxMagnitude(want)));
        }),
    ),
    { numRuns: 5, seed: 18 },
  );
});

it("gives attention probabilities of any layer", async () => {
  const network = await openNetwork(readGolden, "cls_xxs_2x3x96x160");
  const { runGraph, close } = await createWasmRunGraph({ loadModule });
  const wasm = await createWasmExecutor(network.config, { loadModule });
  const tfjs = await createTfjsExecutor(network.config, "wasm");
  const tfjsRun = await openTfjsRunGraph("wasm");
  try {
    for (const place of [
      { stage: 2, layer: 0 },
      { stage: 3, layer: 3 },
      { stage: 4, layer: 2 },
    ]) {
      expect(failures(await checkAttention(runGraph, wasm, network, place))).toEqual([]);
      expect(failures(await checkAttention(tfjsRun, tfjs, network, place))).toEqual([]);
      const batch = { ...network.batch, labels: new Int32Array() };
      const [got, want] = [await wasm.attention(batch, place), await tfjs.attention(batch, place)];
      expect({ ...got, probabilities: 0 }).toEqual({ ...want, probabilities: 0 });
      expect(maxError(got.probabilities, want.probabilities)).toBeLessThan(1e-4);
    }
    const none = { stage: 3, layer: VARIANTS.xxs.transformers[1].depth };
    await expect(wasm.attention(network.batch, none)).rejects.toThrow(/stage 3, layer 4.*2, 4, 3/);
  } finally {
    for (const part of [wasm, tfjs, { close }]) await part.close();
  }
});
