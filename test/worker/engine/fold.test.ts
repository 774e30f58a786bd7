import { fill } from "@swarmvit/shared/random";
import { createFoldableWeights, foldNorms, foldWeights } from "@swarmvit/worker/engine/fold";
import { toEngineLayout } from "@swarmvit/worker/engine/layout";
import { evaluationGraph } from "@swarmvit/worker/engine/mobilevit";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import { createWasmRunGraph } from "@swarmvit/worker/engine/wasm/run-graph";
import { expect, it } from "vitest";
import { readGolden } from "../../support/golden-files.ts";
import { NETWORKS, type OracleNetwork, openNetwork } from "../../support/oracle-network.ts";

it.each(NETWORKS)("a folded %s has the logits of the unfolded one", async (name) => {
  const network = await openNetwork(readGolden, name);
  const { config, table, parameters, statistics } = network;
  const { runGraph, close } = await createWasmRunGraph({ loadModule: loadModuleFromDisk });
  try {
    const [height, width, batch] = [72, 40, 2];
    const { graph, pixels, logits } = evaluationGraph(config, height, width, batch);
    const { graph: foldedGraph, folded } = foldNorms(graph);
    expect(norms(graph) - norms(foldedGraph)).toBe(folded.length);
    expect(folded.length).toBe(18); // 7 inverted residuals with two each, 3 projections, the head
    const image = fill("image", batch * height * width * 3, 0.5, 0.5);
    const run = async (of: typeof graph, weights: Float32Array) => {
      const inputs = new Map(valuesOf(network, of, weights));
      return (await runGraph(of, inputs.set(pixels, image))).get(logits) as Float32Array;
    };
    const plain = await run(graph, parameters);
    const inside = await run(foldedGraph, foldWeights(table, folded, parameters, statistics));
    const scale = Math.max(...plain.map(Math.abs));
    const away = Math.max(...plain.map((x, i) => Math.abs(x - inside[i])));
    expect(scale).toBeGreaterThan(0.1);
    expect(away / scale).toBeLessThan(2e-5);
    expect(away).toBeGreaterThan(0); // it is another way of computing
  } finally {
    await close();
  }
});

it("uploads each form once, when it is needed", async () => {
  const { config, parameters, statistics } = await openNetwork(readGolden, NETWORKS[0]);
  const uploads: { folded: boolean; statistics: boolean }[] = [];
  const weights = createFoldableWeights(config, (given, running) =>
    uploads.push({
      folded: given.some((x, i) => x !== parameters[i]),
      statistics: running !== undefined,
    }),
  );
  weights.set(parameters);
  weights.need("training");
  expect(uploads).toEqual([{ folded: false, statistics: false }]);
  weights.set(parameters, statistics);
  weights.need("evaluation");
  weights.need("training");
  weights.need("training");
  weights.need("evaluation");
  expect(uploads.slice(1).map(({ folded }) => folded)).toEqual([true, false, true]);
});

it("leaves a norm alone whose product has another reader", async () => {
  const { config } = await openNetwork(readGolden, NETWORKS[0]);
  const { graph } = evaluationGraph(config, 64, 64, 1);
  const product = graph.operations.find(({ op }) => op === "linear");
  if (product?.op !== "linear") throw new Error("the network begins with no product");
  const tapped = { ...graph, outputs: [...graph.outputs, product.y] };
  expect(foldNorms(tapped).folded.length).toBe(foldNorms(graph).folded.length - 1);
});

function norms({ operations }: { operations: readonly { op: string }[] }): number {
  return operations.filter(({ op }) => op === "batchNormEval").length;
}

/** What a graph reads of the weights. */
function* valuesOf(
  { table, statistics }: OracleNetwork,
  { values }: ReturnType<typeof evaluationGraph>["graph"],
  parameters: Float32Array,
): Generator<[number, Float32Array]> {
  const engine = toEngineLayout(table.parameters, parameters);
  const named = new Map<string, Float32Array>();
  for (const { name, offset, size } of table.parameters)
    named.set(name, engine.subarray(offset, offset + size));
  for (const { name, offset, size } of table.statistics)
    named.set(name, statistics.subarray(offset, offset + size));
  for (const { id, role } of values) {
    const name =
      role.kind === "parameter"
        ? role.name
        : role.kind === "runningMean"
          ? `${role.name}.running_mean`
          : role.kind === "runningVariance"
            ? `${role.name}.running_var`
            : undefined;
    if (name !== undefined) yield [id, named.get(name) as Float32Array];
  }
}
