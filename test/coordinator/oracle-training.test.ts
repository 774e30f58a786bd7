// Whole training steps against PyTorch: the engine's gradients through the frame, the average, AdamW,
// the statistics and the EMA, as a run does them.

import { averageGradient, updateStatistics } from "@swarmvit/coordinator/core/average";
import { stepEma } from "@swarmvit/coordinator/core/ema";
import { ADAMW_DEFAULTS, biasCorrections } from "@swarmvit/coordinator/core/optimizer";
import { vectorKernels } from "@swarmvit/coordinator/vectors/kernels";
import { decodeFrame, encodeFrame, type FrameId } from "@swarmvit/shared/frame";
import { nullGradients } from "@swarmvit/shared/null-gradients";
import type { Executor, ModelConfig } from "@swarmvit/worker/engine/executor";
import { createTfjsExecutor } from "@swarmvit/worker/engine/tfjs/executor";
import { createWasmExecutor } from "@swarmvit/worker/engine/wasm/executor";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import { describe, expect, test } from "vitest";
import { allClose, type Check, failures } from "../support/allclose.ts";
import { readGolden } from "../support/golden-files.ts";
import {
  compareDigest,
  gradientAt,
  type OracleNetwork,
  openNetwork,
} from "../support/oracle-network.ts";

const EXECUTORS: [string, (config: ModelConfig) => Promise<Executor>][] = [
  ["TF.js cpu", (config) => createTfjsExecutor(config, "cpu")],
  ["TF.js wasm", (config) => createTfjsExecutor(config, "wasm")],
  ["wasm", (config) => createWasmExecutor(config, { threads: 1, loadModule: loadModuleFromDisk })],
];

const SETTINGS = { lr: 2e-3, weightDecay: 0.01 };

describe.each(EXECUTORS)("%s", (_, create) => {
  test.each([
    ["all", "decay_all"],
    ["matrices", "nodecay_1d"],
  ] as const)("three AdamW steps, decay on %s", async (decayed, key) => {
    const network = await openNetwork(readGolden, "cls_xxs_4x3x64x64");
    const { fixture: f, table, batch } = network;
    const executor = await create(network.config);
    const config = { ...ADAMW_DEFAULTS, weightDecay: SETTINGS.weightDecay, decayed };
    const state = {
      weights: network.parameters.slice(),
      firstMoment: new Float32Array(table.parameterCount),
      secondMoment: new Float32Array(table.parameterCount),
    };
    const running = network.statistics.slice();
    const ema = network.parameters.slice();
    const losses: number[] = [];
    const checks: Check[] = [];
    for (let t = 1; t <= 3; t++) {
      const { loss, gradient, statistics } = await gradientAt(executor, batch, state.weights);
      losses.push(loss);
      const step = { lr: SETTINGS.lr, ...biasCorrections(config, t) };
      vectorKernels().stepAdamW(state, gradient, table.parameters, config, step);
      updateStatistics(running, statistics, 1);
      stepEma(ema, state.weights, 0.1);
      if (t !== 2) checks.push(...compareWeights(network, `adamw.${key}.step${t}`, state.weights));
    }
    losses.push((await gradientAt(executor, batch, state.weights)).loss);
    await executor.close();
    checks.push(allClose("losses", losses, f.floats(`adamw.${key}.losses`), { absolute: 1e-3 }));
    if (decayed === "all")
      checks.push(...compareEma(network, ema), ...compareAfterSteps(network, running));
    expect(failures(checks)).toEqual([]);
    expect(checks.length).toBeGreaterThan(2 * 150);
  });

  test("two units of different size, through frames, average to Σ/N", async () => {
    const small = await openNetwork(readGolden, "cls_xxs_4x3x64x64");
    const large = await openNetwork(readGolden, "cls_xxs_2x3x96x160");
    const { table } = small;
    const executor = await create(small.config);
    await executor.setWeights(small.parameters);
    const [sum, statistics] = [table.parameterCount, table.statisticsCount].map(
      (n) => new Float32Array(n),
    );
    let loss = 0;
    for (const { batch } of [small, large]) {
      const node = executor.startNode();
      await node.add(batch);
      const answer = await node.finish();
      const id = frameOf(batch.labels.length);
      const report = { loss: answer.loss, top1: answer.top1, top5: answer.top5, computeMs: 0 };
      const contribution = decodeFrame(encodeFrame(id, table, { ...answer, report }), id, table);
      contribution.gradient.forEach((g, i) => {
        sum[i] += g;
      });
      contribution.statistics.forEach((s, i) => {
        statistics[i] += s;
      });
      loss += contribution.report.loss;
    }
    await executor.close();
    const [a, b] = [small, large].map(({ batch }) => batch.labels.length);
    const mix = (key: string) => {
      const [x, y] = [small, large].map(({ fixture }) => fixture.floats(key));
      return x.map((value, i) => (a * value + b * y[i]) / (a + b));
    };
    averageGradient(sum, a + b);
    const running = small.statistics.slice();
    updateStatistics(running, statistics, a + b);
    const checks = [
      allClose("loss", [loss / (a + b)], mix("train.loss_ls"), { relative: 1e-5 }),
      ...compareRunning(
        small,
        running,
        [mix("bn.running_mean"), mix("bn.running_var")],
        [1e-5, 1e-5],
      ),
    ];
    // Of a digest, only what is linear in the tensor averages: the sum, the probe and the elements.
    const [stats, samples] = [mix("grad.stats"), mix("grad.samples")];
    const most = Math.max(...table.parameters.map((_spec, row) => stats[4 * row + 3]));
    table.parameters.forEach(({ name, offset, size }, row) => {
      const want = { stats: stats.subarray(4 * row), samples: samples.subarray(16 * row) };
      const digest = compareDigest(name, sum.subarray(offset, offset + size), want, {
        element: 1e-4 * most,
        norm: 1e-3,
      });
      checks.push(...digest.filter((check) => /\.(sum|probe|samples)$/.test(check.name)));
    });
    expect(failures(checks)).toEqual([]);
    expect(checks).toHaveLength(3 + 3 * table.parameters.length);
  });
});

function frameOf(samples: number): FrameId {
  const run = "0123456789abcdef";
  const token = "00112233445566778899aabbccddeeff";
  return {
    run,
    kind: "gradient",
    codec: "f32",
    step: 0,
    level: 0,
    index: 0,
    samples,
    lease: 1,
    token,
  };
}

/** Without tensors that hold null gradients: AdamW turns their noise into steps of ±lr (SPEC section 10). */
function compareWeights(
  { fixture, table }: OracleNetwork,
  key: string,
  weights: Float32Array,
): Check[] {
  const nulls = nullGradients("xxs", 64, 64);
  const [stats, samples] = [fixture.floats(`${key}.stats`), fixture.floats(`${key}.samples`)];
  return table.parameters.flatMap(({ name, offset, size }, row) => {
    if (nulls.tensors.has(name) || nulls.rows.has(name)) return [];
    const want = { stats: stats.subarray(4 * row), samples: samples.subarray(16 * row) };
    const digest = compareDigest(`${key}.${name}`, weights.subarray(offset, offset + size), want, {
      element: 1e-4,
      norm: 1e-3,
    });
    // Single elements may flip the sign of a tiny gradient; norms and probes may not move.
    return digest.filter((check) => /\.(l2|probe)$/.test(check.name));
  });
}

function compareEma({ fixture, table }: OracleNetwork, ema: Float32Array): Check[] {
  const nulls = nullGradients("xxs", 64, 64);
  const stats = fixture.floats("ema0.1.step3.stats");
  let row = 0; // of the state_dict: two statistics follow each batch norm's bias
  return table.parameters.flatMap(({ name, kind, offset, size }) => {
    const [l2] = stats.subarray(4 * row);
    row += kind === "bn_beta" ? 3 : 1;
    if (nulls.tensors.has(name) || nulls.rows.has(name)) return [];
    const got = Math.sqrt(ema.subarray(offset, offset + size).reduce((sum, v) => sum + v * v, 0));
    return [allClose(`ema.${name}.l2`, [got], [l2], { relative: 1e-3, absolute: 1e-4 })];
  });
}

/** Within ten times torch's own noise: after AdamW's first step null gradients move the means. */
function compareAfterSteps(network: OracleNetwork, running: Float32Array): Check[] {
  const { fixture } = network;
  const want = ["bn3.running_mean", "bn3.running_var"].map((key) => fixture.floats(key));
  const tolerances = Array.from(fixture.floats("noise.bn3"), (noise) => 10 * noise);
  return compareRunning(network, running, want, tolerances);
}

function compareRunning(
  { table }: OracleNetwork,
  running: Float32Array,
  want: readonly Float32Array[],
  tolerances: readonly number[],
): Check[] {
  return ["bn_mean", "bn_var"].map((kind, i) => {
    const got = table.statistics
      .filter((spec) => spec.kind === kind)
      .flatMap(({ offset, size }) => Array.from(running.subarray(offset, offset + size)));
    const tolerance = { absolute: tolerances[i], relative: 1e-5 };
    return allClose(`running ${kind}`, got, want[i], tolerance);
  });
}
