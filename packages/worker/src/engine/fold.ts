/**
 * Evaluation with batch norms folded into the products before them: gamma·rstd goes into the weight's
 * rows, beta - gamma·rstd·mean becomes the bias, and the pass over memory is gone (or is a plain SiLU).
 */

import { type ParameterTable, parameterTable, type TensorSpec } from "@swarmvit/shared/parameters";
import type { ModelConfig } from "./executor.ts";
import type { Graph, Operation, ValueId } from "./graph.ts";
import { evaluationGraph } from "./mobilevit.ts";
import { operandsOf } from "./operands.ts";

/** As everywhere in the model (SPEC section 1). */
const EPSILON = 1e-5;

/** A batch norm that lies in its product's weight; both by their timm names. */
export interface FoldedNorm {
  /** `…weight`, [out, in] or [out, in, 1, 1]. */
  readonly weight: string;
  /** Scale, shift and running statistics are `….weight`, `….bias`, `….running_mean`, `….running_var`. */
  readonly norm: string;
}

export interface FoldedGraph {
  /** To be run on `foldWeights`; a folded norm's `….bias` is its product's bias now. */
  readonly graph: Graph;
  readonly folded: readonly FoldedNorm[];
}

type Linear = Extract<Operation, { op: "linear" }>;
type Norm = Extract<Operation, { op: "batchNormEval" }>;

/**
 * Folds every `batchNormEval` whose input is a `linear` without bias that nothing else reads. Dense
 * and depthwise convolutions keep theirs: they have no bias, so the pass would stay.
 */
export function foldNorms(graph: Graph): FoldedGraph {
  const uses = new Map<ValueId, number>();
  const count = (id: ValueId) => uses.set(id, (uses.get(id) ?? 0) + 1);
  for (const operation of graph.operations) operandsOf(operation).reads.forEach(count);
  graph.outputs.forEach(count);
  const products = new Map<ValueId, Linear>();
  for (const o of graph.operations)
    if (o.op === "linear" && o.bias === undefined && uses.get(o.y) === 1) products.set(o.y, o);
  const norms = new Map<Linear, Norm>();
  for (const o of graph.operations) {
    const product = o.op === "batchNormEval" && o.act !== "relu" && products.get(o.x);
    if (product) norms.set(product, o as Norm);
  }

  const gone = new Set<Operation>(norms.values());
  const operations = graph.operations.flatMap((o): Operation[] => {
    if (gone.has(o)) return [];
    const norm = o.op === "linear" ? norms.get(o) : undefined;
    if (o.op !== "linear" || !norm) return [o];
    if (norm.act === "none") return [{ ...o, bias: norm.beta, y: norm.y }];
    return [
      { ...o, bias: norm.beta },
      { op: "silu", x: o.y, y: norm.y },
    ];
  });
  const folded = [...norms].map(([product, norm]) => ({
    weight: nameOf(graph, product.w),
    norm: nameOf(graph, norm.beta).replace(/\.bias$/, ""),
  }));
  return { graph: { ...graph, operations }, folded };
}

/**
 * Weights for a folded graph: a new vector in `parameterTable` order and PyTorch's layouts. Computed
 * in float64 and rounded once.
 */
export function foldWeights(
  table: ParameterTable,
  folded: readonly FoldedNorm[],
  parameters: Float32Array,
  statistics: Float32Array,
): Float32Array {
  const specs = new Map<string, TensorSpec>();
  for (const spec of [...table.parameters, ...table.statistics]) specs.set(spec.name, spec);
  const at = (name: string): number => {
    const spec = specs.get(name);
    if (!spec) throw new Error(`the model has no tensor ${name}; graph and table disagree`);
    return spec.offset;
  };
  const weights = parameters.slice();
  for (const { weight, norm } of folded) {
    const [gamma, beta] = [at(`${norm}.weight`), at(`${norm}.bias`)];
    const [mean, variance] = [at(`${norm}.running_mean`), at(`${norm}.running_var`)];
    const start = at(weight);
    const { shape, size } = specs.get(weight) as TensorSpec;
    const inputs = size / shape[0];
    for (let o = 0; o < shape[0]; o++) {
      const scale = parameters[gamma + o] / Math.sqrt(statistics[variance + o] + EPSILON);
      for (let i = start + o * inputs; i < start + (o + 1) * inputs; i++) weights[i] *= scale;
      weights[beta + o] = parameters[beta + o] - scale * statistics[mean + o];
    }
  }
  return weights;
}

/** The weights of an executor, uploaded in the form that the next graph needs. */
export interface FoldableWeights {
  /** Statistics come where evaluation follows: then the folded form is uploaded at once. */
  set(parameters: Float32Array, statistics?: Float32Array): void;
  /** Makes sure that what is uploaded fits a training graph, or a folded evaluation graph. */
  need(form: "training" | "evaluation"): void;
}

/** `upload` takes a whole vector of weights, and the running statistics where they are known. */
export function createFoldableWeights(
  config: ModelConfig,
  upload: (parameters: Float32Array, statistics?: Float32Array) => void,
): FoldableWeights {
  const table = parameterTable(config.variant, config.classes);
  let form: "training" | "evaluation" = "training";
  let given: { parameters: Float32Array; statistics: Float32Array } | undefined;
  let folded: readonly FoldedNorm[] | undefined; // the same at every size
  const need: FoldableWeights["need"] = (wanted) => {
    if (!given || wanted === form) return;
    const { parameters, statistics } = given;
    folded ??= foldNorms(evaluationGraph(config, 64, 64, 1).graph).folded;
    const inForm =
      wanted === "training" ? parameters : foldWeights(table, folded, parameters, statistics);
    upload(inForm, statistics);
    form = wanted;
  };
  return {
    set(parameters, statistics) {
      form = "training";
      given = undefined;
      if (!statistics) return upload(parameters);
      given = { parameters: parameters.slice(), statistics: statistics.slice() };
      need("evaluation");
    },
    need,
  };
}

function nameOf({ values }: Graph, id: ValueId): string {
  const { role } = values[id];
  if (role.kind !== "parameter") throw new Error(`expected a parameter, got ${role.kind}`);
  return role.name;
}
