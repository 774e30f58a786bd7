/**
 * The `webgpu` executor against `wasm` at sizes nobody chose: variant, height, width, batch, dropout and
 * output stride are drawn from a seed, and each draw is in the names of its checks. No map is smaller than 2x2: where a
 * batch norm sees a handful of numbers, rounding alone moves a gradient by parts in a thousand.
 */

import { type ParameterTable, parameterTable } from "@swarmvit/shared/parameters";
import { fill, uniform } from "@swarmvit/shared/random";
import type { VariantName } from "@swarmvit/shared/variants";
import type { Executor, ModelConfig, NodeGradient } from "@swarmvit/worker/engine/executor";
import { formulaBatch, formulaWeights } from "@swarmvit/worker/engine/formula-model";
import { createGraphBuilder } from "@swarmvit/worker/engine/graph-builder";
import { backbone, type OutputStride } from "@swarmvit/worker/engine/mobilevit";
import { cosineOf } from "@swarmvit/worker/engine/self-test";
import { createWasmExecutor } from "@swarmvit/worker/engine/wasm/executor";
import type { LoadModule } from "@swarmvit/worker/engine/wasm/machine";
import { createWasmRunGraph } from "@swarmvit/worker/engine/wasm/run-graph";
import type { OpenDevice } from "@swarmvit/worker/engine/webgpu/device";
import { createWebgpuExecutor } from "@swarmvit/worker/engine/webgpu/executor";
import { usualKernels } from "@swarmvit/worker/engine/webgpu/kernel-options";
import { createPipelines } from "@swarmvit/worker/engine/webgpu/pipelines";
import { webgpuRunGraph } from "@swarmvit/worker/engine/webgpu/run-graph";
import { allClose, type Check, check } from "../../support/allclose.ts";
import { differentiate } from "../../support/differentiate.ts";

const SEED = 2024;
const UNITS = 4;
const BACKBONES = 2;

/** SPEC section 10's tolerances of one float32 executor, twice: here two differ. */
const TOLERANCE = { loss: 2e-5, gradient: 2e-4, statistics: 2e-5, cosine: 0.99999 } as const;

/** Whole units: loss, gradients and statistics; then backbones whose last stages are dilated. */
export async function checkSizes(opened: OpenDevice, loadModule: LoadModule): Promise<Check[]> {
  const { device, ...adapter } = opened;
  const pipelines = createPipelines(device);
  const found: Check[] = [];
  for (let i = 0; i < UNITS; i++) {
    const draw = drawer(i);
    const variant = draw.of<VariantName>("xxs", "xxs", "xs", "s");
    const [height, width] = [draw.between(33, 90), draw.between(33, 90)];
    const [samples, dropout] = [draw.between(2, 5), draw.of(0, 0.1, 0.3)];
    const classes = draw.of(3, 10, 17, 100);
    const config = { variant, classes, dropout, headDropout: dropout, smoothing: 0.1 };
    const batch = { ...formulaBatch(variant, height, width, samples, classes), seed: i };
    const nodes: NodeGradient[] = [];
    for (const opening of [
      createWebgpuExecutor(config, device, { ...adapter, pipelines }),
      createWasmExecutor(config, { loadModule }),
    ]) {
      const executor = await opening;
      nodes.push(await nodeOf(executor, config, batch));
      await executor.close();
    }
    const [got, want] = nodes;
    const words = `${variant}, ${samples} of ${height}x${width}, ${classes} classes, dropout ${dropout}`;
    found.push(
      allClose(`loss of ${words}`, [got.loss], [want.loss], { relative: TOLERANCE.loss }),
      ...close(words, got.gradient, want.gradient),
      allClose(`statistics of ${words}`, got.statistics, want.statistics, {
        relative: TOLERANCE.statistics,
      }),
    );
  }
  const run = webgpuRunGraph(device, usualKernels(adapter));
  const wasm = await createWasmRunGraph({ loadModule });
  for (let i = 0; i < BACKBONES; i++) {
    const draw = drawer(100 + i);
    const variant = draw.of<VariantName>("xxs", "xs");
    const outputStride = draw.of<OutputStride>(8, 16);
    const [height, width, samples] = [draw.between(33, 80), draw.between(33, 80), 2];
    const layer = backboneOf(variant, outputStride, height, width, samples, draw.of(0, 0.1));
    const results = [await differentiate(run, layer), await differentiate(wasm.runGraph, layer)];
    const [got, want] = results;
    const words = `the backbone of ${variant}, stride ${outputStride}, ${samples} of ${height}x${width}`;
    found.push(allClose(`result of ${words}`, got.y, want.y, { relative: TOLERANCE.gradient }));
    const [own, other] = [got, want].map(({ gradients }) => joined([...gradients.values()]));
    found.push(...close(words, own, other), ...close(`dx of ${words}`, got.dx, want.dx));
    const [means, others] = [got, want].map(({ statistics }) =>
      joined([...statistics.values()].flatMap(({ mean, variance }) => [mean, variance])),
    );
    const relative = TOLERANCE.statistics;
    found.push(allClose(`statistics of ${words}`, means, others, { relative }));
  }
  await wasm.close();
  return found;
}

/** Two gradients: by their direction, and by their largest difference against the largest value. */
function close(words: string, got: Float32Array, want: Float32Array): Check[] {
  return [
    check(`1 - cosine of ${words}`, 1 - cosineOf(got, want), 1 - TOLERANCE.cosine),
    allClose(`gradient of ${words}`, got, want, { relative: TOLERANCE.gradient }),
  ];
}

async function nodeOf(
  executor: Executor,
  { variant, classes }: ModelConfig,
  batch: Parameters<ReturnType<Executor["startNode"]>["add"]>[0],
): Promise<NodeGradient> {
  const { parameters, statistics } = formulaWeights(parameterTable(variant, classes));
  await executor.setWeights(parameters, statistics);
  const node = executor.startNode();
  await node.add(batch);
  return node.finish();
}

/** A backbone as a layer: images and the gradient of its features are formulas. */
function backboneOf(
  variant: VariantName,
  outputStride: OutputStride,
  height: number,
  width: number,
  samples: number,
  dropout: number,
) {
  const shape = [samples, height, width, 3];
  const g = createGraphBuilder(true);
  const { features } = backbone(g, g.input("x", shape), variant, dropout, outputStride);
  const count = g.shapeOf(features).reduce((a, b) => a * b, 1);
  const table = parameterTable(variant, 10);
  return {
    x: { shape, data: formulaBatch(variant, height, width, samples).pixels },
    parameters: named(table, formulaWeights(table).parameters),
    build: (b: typeof g, x: number) => backbone(b, x, variant, dropout, outputStride).features,
    dy: fill(`dy ${count}`, count, 0, 1),
    seed: 7,
  };
}

function named({ parameters }: ParameterTable, vector: Float32Array) {
  return new Map(
    parameters.map(({ name, shape, offset, size }) => [
      name,
      { shape, data: vector.slice(offset, offset + size) },
    ]),
  );
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Draws of one case, the same on every machine. */
function drawer(index: number) {
  let next = 0;
  const between = (least: number, most: number) =>
    least + Math.floor(uniform(SEED + index, next++) * (most - least + 1));
  return { between, of: <T>(...list: readonly T[]): T => list[between(0, list.length - 1)] };
}
