import { parameterTable } from "@swarmvit/shared/parameters";
import type { Executor, NodeGradient } from "@swarmvit/worker/engine/executor";
import { formulaBatch, formulaWeights } from "@swarmvit/worker/engine/formula-model";
import {
  type CreateExecutor,
  runSelfTest,
  SelfTestFailed,
} from "@swarmvit/worker/engine/self-test";
import { SELF_TEST_LOSS, selfTestDigests } from "@swarmvit/worker/engine/self-test-digest";
import { createTfjsExecutor } from "@swarmvit/worker/engine/tfjs/executor";
import { createWasmExecutor } from "@swarmvit/worker/engine/wasm/executor";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import { describe, expect, it } from "vitest";
import { sameBits } from "../../support/allclose.ts";
import { readGolden } from "../../support/golden-files.ts";
import { NETWORKS, openNetwork } from "../../support/oracle-network.ts";

const wasm: CreateExecutor = (config) =>
  createWasmExecutor(config, { loadModule: loadModuleFromDisk });

describe("the numbers that the self-test holds", () => {
  it("are those of the oracle's network", async () => {
    const { fixture } = await openNetwork(readGolden, "cls_xxs_4x3x64x64");
    expect(sameBits(selfTestDigests(), fixture.floats("grad.stats"))).toBe(true);
    expect(SELF_TEST_LOSS).toBe(fixture.scalar("train.loss_ls"));
  });

  it.each(NETWORKS)("come from the oracle's formulas (%s)", async (name) => {
    const { table, parameters, statistics, batch } = await openNetwork(readGolden, name);
    const weights = formulaWeights(table);
    expect(sameBits(weights.parameters, parameters)).toBe(true);
    expect(sameBits(weights.statistics, statistics)).toBe(true);
    const { height, width, labels } = batch;
    const formula = formulaBatch(table.variant, height, width, labels.length);
    expect(sameBits(formula.pixels, batch.pixels)).toBe(true);
    expect(formula.labels).toEqual(labels);
  });
});

describe("the self-test", () => {
  it("passes our executors, and times a unit where asked", async () => {
    expect(await runSelfTest(wasm)).toEqual({});
    const tfjs: CreateExecutor = (config) => createTfjsExecutor(config, "wasm");
    const { unitMs } = await runSelfTest(tfjs, { reference: wasm, measureUntil: 0 });
    expect(unitMs).toBeGreaterThan(0);
  });

  // One tensor in 215, a few percent, or one element: what a miscompiled kernel does.
  it.each<[string, RegExp, (node: NodeGradient, samples: number) => NodeGradient]>([
    [
      "a loss a thousandth too high",
      /loss of the self-test/,
      (n) => ({ ...n, loss: n.loss * 1.001 }),
    ],
    [
      "a tensor of zeros",
      /stages\.1\.1\.conv2_kxk\.conv\.weight/,
      scaled("stages.1.1.conv2_kxk.conv.weight", 0),
    ],
    [
      "a tensor 3 % too large",
      /stages\.3\.1\.transformer\.2\.mlp\.fc1\.weight/,
      scaled("stages.3.1.transformer.2.mlp.fc1.weight", 1.03),
    ],
    ["a wrong sign", /probe|sum|l2/, scaled("stages.2.1.conv_fusion.conv.weight", -1)],
    ["numbers that are none", /NaN/, scaled("head.fc.bias", Number.NaN)],
    [
      "odd sizes alone",
      /cosine/,
      (n, samples) => (samples === 2 ? scaled("stem.conv.weight", -1)(n) : n),
    ],
  ])("refuses a device with %s", async (_, message, fault) => {
    const device: CreateExecutor = async (config) => faulty(await wasm(config), fault);
    const tested = runSelfTest(device, { reference: wasm });
    await expect(tested).rejects.toThrow(SelfTestFailed);
    await expect(tested).rejects.toThrow(message);
    await expect(tested).rejects.toThrow(/expected .*do not train on this device/);
  });
});

/** A device whose sums are wrong in one way. */
function faulty(
  executor: Executor,
  fault: (node: NodeGradient, samples: number) => NodeGradient,
): Executor {
  return {
    ...executor,
    startNode() {
      const node = executor.startNode();
      return {
        ...node,
        async finish() {
          const sums = await node.finish();
          return fault(sums, sums.samples);
        },
      };
    },
  };
}

function scaled(name: string, factor: number): (node: NodeGradient) => NodeGradient {
  return (node) => {
    const spec = parameterTable("xxs", 1000).parameters.find((tensor) => tensor.name === name);
    if (!spec) throw new Error(`XXS has no tensor ${name}`);
    const gradient = node.gradient.slice();
    for (let i = spec.offset; i < spec.offset + spec.size; i++) gradient[i] *= factor;
    return { ...node, gradient };
  };
}
