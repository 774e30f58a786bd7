/** How near an executor's batch statistics are to float64's, on any RunGraph. */

import { parameterTable } from "@swarmvit/shared/parameters";
import { uniform } from "@swarmvit/shared/random";
import { formulaBatch, formulaWeights } from "@swarmvit/worker/engine/formula-model";
import type { ValueId } from "@swarmvit/worker/engine/graph";
import { createGraphBuilder } from "@swarmvit/worker/engine/graph-builder";
import { toEngineLayout } from "@swarmvit/worker/engine/layout";
import { classifier } from "@swarmvit/worker/engine/mobilevit";
import type { RunGraph } from "@swarmvit/worker/engine/run-graph";
import { allClose, type Check } from "./allclose.ts";
import { differentiate } from "./differentiate.ts";

/** Batch norms by themselves, whose first row lies far out: statistics and result. */
export async function checkLoneNorms(runGraph: RunGraph): Promise<Check[]> {
  const found: Check[] = [];
  // one chunk of rows; some, and the last one short; channels that fill no vector
  for (const shape of [
    [3, 8, 13, 16],
    [2, 64, 65, 20],
    [5, 1, 1, 7],
  ]) {
    const c = shape[3];
    const size = shape.reduce((a, b) => a * b, 1);
    const data = Float32Array.from({ length: size }, (_, i) => 1 + uniform(1, i) + (i < c ? 4 : 0));
    const parameters = new Map(
      ["bn.weight", "bn.bias"].map((name, k) => [
        name,
        { shape: [c], data: Float32Array.from({ length: c }, (_, i) => uniform(2 + k, i)) },
      ]),
    );
    const { y, statistics } = await differentiate(runGraph, {
      x: { shape, data },
      parameters,
      build: (g, x) => g.batchNorm(x, "bn", "none"),
      dy: new Float32Array(size),
    });
    const [gamma, beta] = [...parameters.values()].map((tensor) => tensor.data);
    const want = normalised(data, gamma, beta);
    const { mean, variance } = statistics.get("bn") ?? {};
    found.push(
      allClose(`mean of ${shape}`, mean ?? [], want.mean, { relative: 2e-7 }),
      allClose(`variance of ${shape}`, variance ?? [], want.variance, { relative: 8e-7 }),
      allClose(`result of ${shape}`, y, want.y, { relative: 4e-7 }),
    );
  }
  return found;
}

/** Each of the 32 batch norms of a small XS network, given what came before it. */
export async function checkNetworkNorms(runGraph: RunGraph): Promise<Check[]> {
  const [samples, height, width, classes] = [3, 16, 25, 17];
  const config = { variant: "xs", classes, dropout: 0, headDropout: 0, smoothing: 0.1 } as const;
  const g = createGraphBuilder(true);
  const pixels = g.pixels([samples, height, width, 3]);
  classifier(g, pixels, config);
  const { operations } = g.finish();
  const norms = operations.filter((o) => o.op === "batchNorm");
  const graph = g.finish(norms.map(({ x }) => x));
  const table = parameterTable("xs", classes);
  const weights = toEngineLayout(table.parameters, formulaWeights(table).parameters);
  const places = new Map(table.parameters.map((spec) => [spec.name, spec]));
  const inputs = new Map([[pixels, formulaBatch("xs", height, width, samples).pixels]]);
  for (const { id, role } of graph.values) {
    const place = role.kind === "parameter" && places.get(role.name);
    if (place) inputs.set(id, weights.subarray(place.offset, place.offset + place.size));
  }
  const results = await runGraph(graph, inputs);
  const result = (id: ValueId) => results.get(id) ?? new Float32Array();
  return norms.flatMap((o, i) => {
    const one = new Float32Array(result(o.mean).length).fill(1);
    const want = normalised(result(o.x), one, one);
    const ratio = result(o.variance).map((variance, k) => variance / want.variance[k]);
    const away = result(o.mean).map(
      (mean, k) => (mean - want.mean[k]) / Math.sqrt(want.variance[k]),
    );
    return [
      allClose(`variance of batch norm ${i}`, ratio, one, { relative: 1e-6 }),
      allClose(`mean of batch norm ${i}`, away, new Float32Array(one.length), { absolute: 1e-6 }),
    ];
  });
}

/** Batch norm of x [R, C] in float64; `variance` is unbiased. */
function normalised(x: Float32Array, gamma: Float32Array, beta: Float32Array) {
  const c = gamma.length;
  const rows = x.length / c;
  const [mean, squares] = [new Float64Array(c), new Float64Array(c)];
  x.forEach((value, i) => {
    mean[i % c] += value / rows;
  });
  x.forEach((value, i) => {
    squares[i % c] += (value - mean[i % c]) ** 2;
  });
  const scale = squares.map((sum, i) => gamma[i] / Math.sqrt(sum / rows + 1e-5));
  return {
    mean,
    variance: squares.map((sum) => sum / (rows - 1)),
    y: Float64Array.from(x, (value, i) => (value - mean[i % c]) * scale[i % c] + beta[i % c]),
  };
}
