/** Runs a graph on the current TF.js backend, letting go of each tensor after its last use. */

import * as tf from "@tensorflow/tfjs-core";
import type { Graph, ValueId } from "../graph.ts";
import { releasedAfter } from "../plan.ts";
import type { RunGraph } from "../run-graph.ts";
import { openTfjs, type TfjsBackend, type TfjsOptions } from "./backend.ts";
import { createContext, TensorCache, type TfjsContext } from "./context.ts";
import { runOperation } from "./operation.ts";

/** A graph together with what each operation's end lets go of. */
export interface TfjsProgram {
  readonly graph: Graph;
  readonly released: readonly (readonly ValueId[])[];
  /** Values that belong to the caller: their tensors are never disposed here. */
  readonly borrowed: ReadonlySet<ValueId>;
}

/** Prepares a graph; parameters and running statistics stay the caller's. */
export function prepare(graph: Graph): TfjsProgram {
  const borrowed = graph.values
    .filter(({ role }) => ["parameter", "runningMean", "runningVariance"].includes(role.kind))
    .map(({ id }) => id);
  return { graph, released: releasedAfter(graph), borrowed: new Set(borrowed) };
}

/**
 * Runs a program. Takes over the tensors of uploaded values in `tensors`, and returns those of the
 * graph's outputs, which the caller disposes.
 */
export function interpret(
  { graph, released, borrowed }: TfjsProgram,
  tensors: Map<ValueId, tf.Tensor>,
  context: TfjsContext,
  observe?: (operation: Graph["operations"][number], ms: number) => void,
): Map<ValueId, tf.Tensor> {
  const tensor = (id: ValueId): tf.Tensor => {
    const found = tensors.get(id);
    if (!found) throw new Error(`value ${id} (${graph.values[id]?.role.kind}) was not given`);
    return found;
  };
  const shape = (id: ValueId) => graph.values[id].shape;
  const dispose = (id: ValueId) => {
    if (borrowed.has(id)) return;
    tensors.get(id)?.dispose();
    tensors.delete(id);
  };
  try {
    graph.operations.forEach((operation, index) => {
      const start = observe ? performance.now() : 0;
      tf.tidy(() => {
        for (const [id, result] of runOperation(operation, { tensor, shape }, context))
          tensors.set(id, tf.keep(result));
      });
      for (const id of released[index]) dispose(id);
      observe?.(operation, performance.now() - start);
    });
  } catch (error) {
    for (const id of [...tensors.keys()]) dispose(id);
    throw error;
  }
  const outputs = new Map<ValueId, tf.Tensor>();
  for (const id of graph.outputs) outputs.set(id, tensor(id));
  for (const id of [...tensors.keys()]) if (!outputs.has(id)) dispose(id);
  return outputs;
}

/** A `RunGraph` on a TF.js backend, for single operations and blocks. */
export async function openTfjsRunGraph(
  backend: TfjsBackend,
  options: TfjsOptions = {},
): Promise<RunGraph> {
  await openTfjs(backend, options);
  return async (graph, inputs, seed = 0) => {
    await tf.setBackend(backend);
    const caches = {
      unit: new TensorCache(),
      weights: new TensorCache(),
      constants: new TensorCache(),
    };
    const program = { ...prepare(graph), borrowed: new Set<ValueId>() };
    const tensors = new Map<ValueId, tf.Tensor>();
    for (const [id, data] of inputs)
      tensors.set(id, tf.tensor(data, [...graph.values[id].shape], "float32"));
    try {
      const outputs = interpret(program, tensors, createContext(seed, caches));
      const results = new Map<ValueId, Float32Array>();
      for (const [id, result] of outputs) {
        results.set(id, new Float32Array((await result.data()) as Float32Array));
        result.dispose();
      }
      return results;
    } finally {
      for (const cache of Object.values(caches)) cache.close();
    }
  };
}
