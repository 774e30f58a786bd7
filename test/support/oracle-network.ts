/** Whole networks against the oracle's `cls_*` fixtures: through a graph, and through an executor. */

import { type ParameterTable, parameterTable, type TensorSpec } from "@swarmvit/shared/parameters";
import { fill } from "@swarmvit/shared/random";
import type { VariantName } from "@swarmvit/shared/variants";
import { type AttentionPlace, attentionMap } from "@swarmvit/worker/engine/attention-map";
import { digestOf } from "@swarmvit/worker/engine/digest";
import type { Batch, Executor, ModelConfig } from "@swarmvit/worker/engine/executor";
import type { Graph, ValueId } from "@swarmvit/worker/engine/graph";
import { toEngineLayout } from "@swarmvit/worker/engine/layout";
import { attentionGraph, evaluationGraph, trainingGraph } from "@swarmvit/worker/engine/mobilevit";
import type { RunGraph } from "@swarmvit/worker/engine/run-graph";
import { score } from "@swarmvit/worker/engine/score";
import { allClose, type Check, check } from "./allclose.ts";
import {
  type Fixture,
  openFixture,
  openJson,
  type ReadGolden,
  toNchw,
  toNhwc,
} from "./fixtures.ts";

/** The fixtures of whole networks. */
export const NETWORKS = [
  "cls_xxs_4x3x64x64",
  "cls_xxs_2x3x96x160",
  "cls_xs_4x3x64x64",
  "cls_s_4x3x64x64",
] as const;
export type NetworkName = (typeof NETWORKS)[number];

/** A fixture with the weights and the batch that it was made from. */
export interface OracleNetwork {
  readonly name: NetworkName;
  readonly fixture: Fixture;
  /** 1000 classes, no dropout, smoothing 0.1. */
  readonly config: ModelConfig;
  readonly table: ParameterTable;
  /** In `parameterTable` order and PyTorch's layouts. */
  readonly parameters: Float32Array;
  readonly statistics: Float32Array;
  readonly batch: Batch;
}

interface Manifest {
  readonly tensors: readonly { name: string; mean: number; scale: number }[];
}

/** Opens a network's fixture and fills its weights by SPEC section 9. */
export async function openNetwork(read: ReadGolden, name: NetworkName): Promise<OracleNetwork> {
  const fixture = await openFixture(read, `${name}.safetensors`);
  const variant = fixture.metadata.variant as VariantName;
  const manifest = await openJson<Manifest>(read, `manifest_${variant}.json`);
  const formulas = new Map(manifest.tensors.map((tensor) => [tensor.name, tensor]));
  const table = parameterTable(variant, 1000);
  const filled = (specs: readonly TensorSpec[], length: number) => {
    const vector = new Float32Array(length);
    for (const { name: tensor, offset, size } of specs) {
      const formula = formulas.get(tensor);
      if (!formula) throw new Error(`the manifest of ${variant} has no tensor ${tensor}`);
      vector.set(fill(tensor, size, formula.mean, formula.scale), offset);
    }
    return vector;
  };
  const [b, c, height, width] = fixture.shape("input");
  return {
    name,
    fixture,
    config: { variant, classes: 1000, dropout: 0, headDropout: 0, smoothing: 0.1 },
    table,
    parameters: filled(table.parameters, table.parameterCount),
    statistics: filled(table.statistics, table.statisticsCount),
    batch: {
      height,
      width,
      pixels: toNhwc(fixture.floats("input"), [b, c, height, width]),
      labels: fixture.integers("labels"),
      seed: 1,
    },
  };
}

/** Logits and the activations of every stage, in training and in evaluation. */
export async function checkActivations(run: RunGraph, network: OracleNetwork): Promise<Check[]> {
  const { fixture: f, config, batch } = network;
  const samples = batch.labels.length;
  const checks: Check[] = [];
  for (const mode of ["eval", "train"] as const) {
    const make = mode === "train" ? trainingGraph : evaluationGraph;
    const built = make(config, batch.height, batch.width, samples, true);
    const results = await run(built.graph, uploads(built.graph, network));
    const result = (id: ValueId) => results.get(id) ?? new Float32Array();
    const noise = f.scalar(`noise.${mode}.logits`);
    checks.push(
      allClose(`${mode}.logits`, result(built.logits), f.floats(`${mode}.logits`), {
        absolute: 10 * noise,
      }),
    );
    const stats = f.floats(`${mode}.act.stats`);
    const examples = f.floats(`${mode}.act.samples`);
    const actNoise = f.floats(`noise.${mode}.act`);
    const names = f.metadata.acts.split(",");
    names.forEach((name, row) => {
      const id = built.taps[name];
      const { shape } = built.graph.values[id];
      const flat = shape.length === 4 ? toNchw(result(id), shape) : result(id);
      const want = { stats: stats.subarray(4 * row), samples: examples.subarray(16 * row) };
      const allowed = 10 * actNoise[row];
      checks.push(
        ...compareDigest(`${mode}.act.${name}`, flat, want, { element: allowed, norm: 1e-4 }),
      );
    });
  }
  return checks;
}

/** What one node of one unit gives, as means over its samples. */
export interface MeanGradient {
  readonly loss: number;
  readonly gradient: Float32Array;
  /** Batch mean and unbiased variance of every batch norm. */
  readonly statistics: Float32Array;
}

/** Loss and gradient of a network's batch at given weights, as means over samples. */
export async function gradientAt(
  executor: Executor,
  batch: Batch,
  parameters: Float32Array,
): Promise<MeanGradient> {
  await executor.setWeights(parameters);
  const node = executor.startNode();
  await node.add(batch);
  const { samples, loss, gradient, statistics } = await node.finish();
  return {
    loss: loss / samples,
    gradient: gradient.map((g) => g / samples),
    statistics: statistics.map((s) => s / samples),
  };
}

/** Loss, every gradient, statistics, the loss after a plain step, and evaluation. */
export async function checkExecutor(
  executor: Executor,
  { fixture: f, table, parameters, statistics, batch }: OracleNetwork,
): Promise<Check[]> {
  const at = await gradientAt(executor, batch, parameters);
  const lossTolerance = { relative: 1e-5 };
  const checks = [
    allClose("train.loss_ls", [at.loss], [f.scalar("train.loss_ls")], lossTolerance),
    ...compareGradient(f, table, at.gradient),
    ...compareStatistics(f, table, statistics, at.statistics),
  ];
  const stepped = parameters.map((p, i) => p - 0.05 * at.gradient[i]);
  const after = await gradientAt(executor, batch, stepped);
  checks.push(
    allClose("sgd0.05.loss1", [after.loss], [f.scalar("sgd0.05.loss1")], { relative: 1e-3 }),
  );

  await executor.setWeights(parameters, statistics);
  const logits = await executor.predict(batch);
  const scored = score(logits, batch.labels);
  checks.push(
    allClose("predict", logits, f.floats("eval.logits"), {
      absolute: 10 * f.scalar("noise.eval.logits"),
    }),
    allClose("eval.loss_ce", [scored.loss / scored.samples], [f.scalar("eval.loss_ce")], {
      relative: 1e-5,
      absolute: 10 * f.scalar("noise.eval.loss_ce"),
    }),
  );
  return checks;
}

/** Gradient digests within SPEC section 10: 1e-4 of the largest gradient, norms within 1e-3. */
export function compareGradient(
  f: Fixture,
  table: ParameterTable,
  gradient: Float32Array,
): Check[] {
  const stats = f.floats("grad.stats");
  const samples = f.floats("grad.samples");
  const largest = table.parameters.reduce((most, _, row) => Math.max(most, stats[4 * row + 3]), 0);
  return table.parameters.flatMap(({ name, offset, size }, row) =>
    compareDigest(
      `grad.${name}`,
      gradient.subarray(offset, offset + size),
      { stats: stats.subarray(4 * row), samples: samples.subarray(16 * row) },
      { element: 1e-4 * largest, norm: 1e-3 },
    ),
  );
}

/** running ← 0.9·running + 0.1·batch against `bn.running_*` (all batch norms one after the other). */
export function compareStatistics(
  f: Fixture,
  table: ParameterTable,
  before: Float32Array,
  batch: Float32Array,
): Check[] {
  return (["mean", "var"] as const).map((which) => {
    const specs = table.statistics.filter(({ kind }) => kind === `bn_${which}`);
    const running = specs.flatMap(({ offset, size }) =>
      Array.from({ length: size }, (_, i) => 0.9 * before[offset + i] + 0.1 * batch[offset + i]),
    );
    return allClose(`bn.running_${which}`, running, f.floats(`bn.running_${which}`), {
      absolute: 1e-5,
      relative: 1e-5,
    });
  });
}

/**
 * A tensor against its digest (SPEC section 10): [l2, sum, probe, max] and 16 of its elements.
 * `element` bounds one element's error; `norm` is relative to l2 and bounds the three sums.
 */
export function compareDigest(
  name: string,
  tensor: Float32Array,
  want: { stats: Float32Array; samples: Float32Array },
  { element, norm }: { element: number; norm: number },
): Check[] {
  const n = tensor.length;
  const got = digestOf(tensor);
  const [l2, wantedSum, wantedProbe, wantedMost] = want.stats;
  // An error of `element` everywhere would be this large a norm; rounding never is.
  const slack = norm * l2 + element;
  const picks = Array.from({ length: 16 }, (_, i) =>
    i < 8 ? (tensor[i] ?? 0) : tensor[Math.floor(((i - 8) * n) / 8)],
  );
  return [
    check(`${name}.l2`, Math.abs(got.l2 - l2), slack),
    check(`${name}.sum`, Math.abs(got.sum - wantedSum), slack * Math.sqrt(n)),
    check(`${name}.probe`, Math.abs(got.probe - wantedProbe), slack),
    check(`${name}.max`, Math.abs(got.max - wantedMost), element),
    allClose(`${name}.samples`, picks, want.samples.subarray(0, 16), { absolute: element }),
  ];
}

/**
 * Attention probabilities of a layer: rows sum to 1, they weigh the values into what the attention
 * kernel itself gives, and the executor's are those of the same queries and keys.
 */
export async function checkAttention(
  run: RunGraph,
  executor: Executor,
  network: OracleNetwork,
  place: AttentionPlace,
): Promise<Check[]> {
  const { config, batch } = network;
  const samples = batch.labels.length;
  const { graph, qkv } = attentionGraph(config, batch.height, batch.width, samples, place);
  const whole = evaluationGraph(config, batch.height, batch.width, samples).graph;
  const attention = whole.operations[graph.operations.length];
  if (attention.op !== "attention") throw new Error("the graph does not end before an attention");
  const operations = [...graph.operations, attention];
  const tapped = { ...graph, operations, outputs: [qkv, attention.y] };
  const results = await run(tapped, uploads(tapped, network));
  const value = (id: ValueId) => results.get(id) ?? new Float32Array();
  await executor.setWeights(network.parameters, network.statistics);
  const map = await executor.attention({ ...batch, labels: new Int32Array() }, place);
  const { sequences, heads, tokens, probabilities } = map;
  const d = value(attention.y).length / (sequences * tokens);
  const headDim = d / heads;
  const weighed = new Float32Array(value(attention.y).length);
  let worstSum = 0;
  for (let s = 0; s < sequences; s++)
    for (let head = 0; head < heads; head++)
      for (let i = 0; i < tokens; i++) {
        const row = ((s * heads + head) * tokens + i) * tokens;
        let sum = 0;
        for (let j = 0; j < tokens; j++) {
          const p = probabilities[row + j];
          sum += p;
          for (let c = 0; c < headDim; c++)
            weighed[(s * tokens + i) * d + head * headDim + c] +=
              p * value(qkv)[(s * tokens + j) * 3 * d + 2 * d + head * headDim + c];
        }
        worstSum = Math.max(worstSum, Math.abs(sum - 1));
      }
  const { probabilities: want } = attentionMap(value(qkv), samples, config.variant, place);
  const name = `attention ${place.stage}.${place.layer}`;
  return [
    check(`${name}: sequences`, Math.abs(sequences - 4 * samples), 0),
    check(`${name}: rows sum to 1`, worstSum, 1e-5),
    allClose(`${name}: probabilities`, probabilities, want, { absolute: 1e-4 }),
    allClose(`${name}: values they weigh`, weighed, value(attention.y), {
      absolute: 1e-4,
      relative: 1e-4,
    }),
  ];
}

/** Everything that a graph of a network reads: pixels, labels and weights in engine layout. */
function uploads(graph: Graph, network: OracleNetwork): Map<ValueId, Float32Array> {
  const { table, parameters, statistics, batch } = network;
  const named = new Map<string, Float32Array>();
  const place = (specs: readonly TensorSpec[], vector: Float32Array) => {
    const engine = toEngineLayout(specs, vector);
    for (const { name, offset, size } of specs)
      named.set(name, engine.subarray(offset, offset + size));
  };
  place(table.parameters, parameters);
  place(table.statistics, statistics);
  const given = new Map<ValueId, Float32Array>();
  for (const { id, role } of graph.values) {
    if (role.kind === "pixels") given.set(id, batch.pixels);
    else if (role.kind === "labels") given.set(id, Float32Array.from(batch.labels));
    else if (role.kind === "parameter") given.set(id, named.get(role.name) as Float32Array);
    else if (role.kind === "runningMean")
      given.set(id, named.get(`${role.name}.running_mean`) as Float32Array);
    else if (role.kind === "runningVariance")
      given.set(id, named.get(`${role.name}.running_var`) as Float32Array);
  }
  return given;
}
