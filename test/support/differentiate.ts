/** Runs a layer or block and its gradient through the engine's own builder, backward and layouts. */

import { backward } from "@swarmvit/worker/engine/backward";
import type { ValueId } from "@swarmvit/worker/engine/graph";
import {
  createGraphBuilder,
  elements,
  type GraphBuilder,
} from "@swarmvit/worker/engine/graph-builder";
import { fromEngineLayout, toEngineLayout } from "@swarmvit/worker/engine/layout";
import type { RunGraph } from "@swarmvit/worker/engine/run-graph";

export interface Layer {
  /** Shape and values of the input, as the engine wants them (images NHWC). */
  readonly x: { readonly shape: readonly number[]; readonly data: Float32Array };
  /** Parameters (and running statistics, `NAME.running_mean`) in PyTorch's layouts. */
  readonly parameters: ReadonlyMap<string, Torch>;
  build(g: GraphBuilder, x: ValueId): ValueId;
  /** Gradient of the result; evaluation with running statistics if absent. */
  readonly dy?: Float32Array;
  readonly seed?: number;
}

export interface Torch {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface LayerResult {
  readonly y: Float32Array;
  readonly dx: Float32Array;
  /** By timm name, in PyTorch's layouts. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
  /** By batch norm: mean and unbiased variance of the batch. */
  readonly statistics: ReadonlyMap<string, { mean: Float32Array; variance: Float32Array }>;
}

/** Forward, and where `dy` is given every gradient, of one layer. */
export async function differentiate(run: RunGraph, layer: Layer): Promise<LayerResult> {
  const { x, parameters, dy, seed } = layer;
  const g = createGraphBuilder(dy !== undefined);
  const input = g.input("x", x.shape);
  const y = layer.build(g, input);
  const upload = new Map([[input, x.data]]);
  let graph = g.finish([y]);
  let gradients: ReadonlyMap<ValueId, ValueId> = new Map();
  if (dy) {
    const seedValue = g.input("dy", g.shapeOf(y));
    if (elements(g.shapeOf(y)) !== dy.length)
      throw new Error(`expected dy of shape [${g.shapeOf(y)}], got ${dy.length} numbers`);
    upload.set(seedValue, dy);
    ({ graph, gradients } = backward(g.finish([y]), new Map([[y, seedValue]]), [input]));
  }
  for (const { id, role, shape } of graph.values) {
    const name = torchName(role);
    if (name === undefined) continue;
    const given = parameters.get(name);
    if (!given) throw new Error(`the layer uses ${name}, which is not given`);
    const data = toEngineLayout([specOf(given.shape)], given.data);
    if (data.length !== elements(shape))
      throw new Error(`${name} is [${given.shape}], the engine expects [${shape}]`);
    upload.set(id, data);
  }
  const results = await run(graph, upload, seed);
  const result = (id: ValueId) => results.get(id) ?? new Float32Array();

  const byName = new Map<string, Float32Array>();
  const statistics = new Map<string, { mean: Float32Array; variance: Float32Array }>();
  for (const { id, role } of graph.values) {
    if (role.kind === "gradient") {
      const shape = parameters.get(role.parameter)?.shape ?? [];
      byName.set(role.parameter, fromEngineLayout([specOf(shape)], result(id)));
    }
    if (role.kind === "statistic") {
      const both = statistics.get(role.name) ?? { mean: result(id), variance: result(id) };
      statistics.set(role.name, { ...both, [role.which]: result(id) });
    }
  }
  return {
    y: result(y),
    dx: result(gradients.get(input) ?? -1),
    gradients: byName,
    statistics,
  };
}

function torchName(role: { kind: string; name?: string }): string | undefined {
  if (role.kind === "parameter") return role.name;
  if (role.kind === "runningMean") return `${role.name}.running_mean`;
  return role.kind === "runningVariance" ? `${role.name}.running_var` : undefined;
}

function specOf(shape: readonly number[]) {
  return { name: "", kind: "conv", shape, offset: 0, size: elements(shape) } as const;
}
