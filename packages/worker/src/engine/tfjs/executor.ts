/** The portable executor: a volunteer's units on any TF.js backend. */

import { type ParameterTable, parameterTable, type TensorSpec } from "@swarmvit/shared/parameters";
import * as tf from "@tensorflow/tfjs-core";
import { attentionMap } from "../attention-map.ts";
import {
  type Batch,
  type Executor,
  type ModelConfig,
  type NodeAccumulator,
  type NodeGradient,
  samplesOf,
} from "../executor.ts";
import type { Graph, ValueId } from "../graph.ts";
import { engineShape, fromEngineLayout, toEngineLayout } from "../layout.ts";
import { attentionGraph, evaluationGraph, type NetworkGraph, trainingGraph } from "../mobilevit.ts";
import { plan } from "../plan.ts";
import { checkUnit } from "../safe-numbers.ts";
import { createTreeSum } from "../tree-sum.ts";
import { openTfjs, type TfjsBackend, type TfjsOptions } from "./backend.ts";
import { createContext, TensorCache } from "./context.ts";
import { onHost } from "./host-kernels.ts";
import { interpret, prepare, type TfjsProgram } from "./interpreter.ts";

/** Graphs of at most this many sizes are kept; a run uses a handful. */
const KEPT_PROGRAMS = 16;

/** Opens a backend and builds an executor for one model. Memory is TF.js's: reported, not promised. */
export async function createTfjsExecutor(
  config: ModelConfig,
  backend: TfjsBackend,
  options: TfjsOptions = {},
): Promise<Executor> {
  const info = await openTfjs(backend, options);
  const table = parameterTable(config.variant, config.classes);
  const training = createKept((h, w, b) => withProgram(trainingGraph(config, h, w, b)));
  const evaluation = createKept((h, w, b) => withProgram(evaluationGraph(config, h, w, b)));
  const weights = createWeights(table);
  const constants = new TensorCache();

  /** Runs a program on a batch and reads back the values asked for. */
  const run = async (
    { graph, program, pixels }: Pick<NetworkGraph, "graph" | "pixels"> & { program: TfjsProgram },
    batch: Batch,
    extra: readonly (readonly [ValueId, tf.Tensor])[],
  ): Promise<Map<ValueId, Float32Array>> => {
    const tensors = new Map([
      ...weights.of(graph),
      [pixels, tf.tensor(batch.pixels, [...graph.values[pixels].shape])] as const,
      ...extra,
    ]);
    const unit = new TensorCache();
    try {
      const context = createContext(batch.seed, { unit, weights: weights.cache, constants });
      return await readAndDispose(interpret(program, tensors, context));
    } finally {
      unit.close();
    }
  };

  const computeUnit = async (batch: Batch): Promise<NodeGradient> => {
    const samples = samplesOf(batch);
    const unit = training(batch.height, batch.width, samples);
    const labels = tf.tensor1d(Float32Array.from(batch.labels));
    const results = await run(unit, batch, [[unit.labels, labels]]);
    const gradient = new Float32Array(table.parameterCount);
    const statistics = new Float32Array(table.statisticsCount);
    let report: Float32Array = new Float32Array(3);
    for (const [id, numbers] of results) {
      const { role } = unit.graph.values[id];
      if (role.kind === "gradient") gradient.set(numbers, weights.offset(role.parameter));
      else if (role.kind === "statistic")
        statistics.set(
          numbers.map((s) => samples * s),
          weights.offset(`${role.name}.running_${role.which === "mean" ? "mean" : "var"}`),
        );
      else if (role.kind === "report") report = numbers;
    }
    const [loss, top1, top5] = report;
    checkUnit(table, batch.height, batch.width, loss, gradient);
    return { samples, loss, top1, top5, gradient, statistics };
  };

  const startNode = (): NodeAccumulator => {
    let sum = createTreeSum();
    return {
      async add(batch, signal) {
        signal?.throwIfAborted();
        const start = performance.now();
        await useBackend(backend);
        weights.required();
        const unit = await computeUnit(batch);
        signal?.throwIfAborted();
        const { loss, top1, top5 } = unit;
        sum.add(unit); // keeps the vectors and may overwrite them
        return { loss, top1, top5, computeMs: performance.now() - start };
      },
      async finish() {
        const node = sum.finish();
        return { ...node, gradient: fromEngineLayout(table.parameters, node.gradient) };
      },
      abandon() {
        sum = createTreeSum();
      },
    };
  };

  return {
    info,
    async setWeights(parameters, statistics) {
      await useBackend(backend);
      weights.set(parameters, statistics);
    },
    startNode,
    async predict(batch) {
      await useBackend(backend);
      weights.required({ statistics: true });
      const network = evaluation(batch.height, batch.width, samplesOf(batch));
      return (await run(network, batch, [])).get(network.logits) as Float32Array;
    },
    async attention(batch, place) {
      await useBackend(backend);
      weights.required({ statistics: true });
      const { height, width } = batch;
      const samples = samplesOf(batch);
      const network = withProgram(attentionGraph(config, height, width, samples, place));
      const qkv = (await run(network, batch, [])).get(network.qkv) as Float32Array;
      return attentionMap(qkv, samples, config.variant, place);
    },
    plannedBytes: (height, width, batch) =>
      plan(training(height, width, batch).graph).bytes + 4 * table.parameterCount,
    async close() {
      weights.close();
      constants.close();
    },
  };
}

async function useBackend(backend: TfjsBackend): Promise<void> {
  if (tf.getBackend() !== backend) await tf.setBackend(backend);
}

function withProgram<T extends Pick<NetworkGraph, "graph">>(network: T) {
  return { ...network, program: prepare(network.graph) };
}

/** Remembers the programs of the sizes used last. */
function createKept<T>(make: (height: number, width: number, batch: number) => T) {
  const kept = new Map<string, T>();
  return (height: number, width: number, batch: number): T => {
    const key = `${height}x${width}x${batch}`;
    const found = kept.get(key) ?? make(height, width, batch);
    kept.delete(key);
    kept.set(key, found);
    if (kept.size > KEPT_PROGRAMS) kept.delete(kept.keys().next().value as string);
    return found;
  };
}

/** The weights as tensors in engine layout, and what is derived from them. */
function createWeights(table: ParameterTable) {
  const specs = new Map<string, TensorSpec>();
  for (const spec of [...table.parameters, ...table.statistics]) specs.set(spec.name, spec);
  const tensors = new Map<string, tf.Tensor>();
  const cache = new TensorCache();
  const close = () => {
    for (const tensor of tensors.values()) tensor.dispose();
    tensors.clear();
    cache.close();
  };
  const fill = (list: readonly TensorSpec[], vector: Float32Array) => {
    const engine = toEngineLayout(list, vector);
    for (const spec of list)
      tensors.set(
        spec.name,
        tf.tensor(engine.slice(spec.offset, spec.offset + spec.size), [...engineShape(spec)]),
      );
  };
  return {
    cache,
    close,
    set(parameters: Float32Array, statistics: Float32Array | undefined) {
      close();
      fill(table.parameters, parameters);
      if (statistics) fill(table.statistics, statistics);
    },
    required({ statistics = false } = {}) {
      if (!tensors.has(table.parameters[0].name))
        throw new Error("the executor has no weights; call setWeights first");
      if (statistics && !tensors.has(table.statistics[0].name))
        throw new Error("evaluation needs running statistics; give them to setWeights");
    },
    offset: (name: string) => (specs.get(name) as TensorSpec).offset,
    /** The weights that a graph reads, by value. */
    of(graph: Graph): [ValueId, tf.Tensor][] {
      return graph.values.flatMap(({ id, role }): [ValueId, tf.Tensor][] => {
        const name =
          role.kind === "parameter"
            ? role.name
            : role.kind === "runningMean"
              ? `${role.name}.running_mean`
              : role.kind === "runningVariance"
                ? `${role.name}.running_var`
                : undefined;
        const tensor = name === undefined ? undefined : tensors.get(name);
        return tensor ? [[id, tensor]] : [];
      });
    },
  };
}

/** Reads tensors back: one by one where that is a copy, in one transfer where it is a round trip. */
async function readAndDispose(
  tensors: Map<ValueId, tf.Tensor>,
): Promise<Map<ValueId, Float32Array>> {
  const results = new Map<ValueId, Float32Array>();
  if (onHost()) {
    for (const [id, tensor] of tensors) results.set(id, tensor.dataSync<"float32">().slice());
  } else {
    const all = tf.tidy(() =>
      tf.concat([...tensors.values()].map((tensor) => tf.reshape(tensor, [tensor.size]))),
    );
    const numbers = await all.data<"float32">();
    all.dispose();
    let offset = 0;
    for (const [id, { size }] of tensors) {
      results.set(id, numbers.slice(offset, offset + size));
      offset += size;
    }
  }
  for (const tensor of tensors.values()) tensor.dispose();
  return results;
}
