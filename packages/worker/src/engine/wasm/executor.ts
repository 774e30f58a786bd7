/** The `wasm` executor: own SIMD kernels, the same bits in every browser, in Node, on any threads. */

import { parameterTable } from "@swarmvit/shared/parameters";
import { siteSeed } from "@swarmvit/shared/random";
import { type AttentionPlace, attentionMap } from "../attention-map.ts";
import {
  type Batch,
  type Executor,
  type ModelConfig,
  type NodeGradient,
  samplesOf,
  type UnitReport,
} from "../executor.ts";
import { createFoldableWeights, foldNorms } from "../fold.ts";
import type { Graph } from "../graph.ts";
import { fromEngineLayout, toEngineLayout } from "../layout.ts";
import { attentionGraph, evaluationGraph, trainingGraph } from "../mobilevit.ts";
import { checkUnit } from "../safe-numbers.ts";
import { createTreeSum } from "../tree-sum.ts";
import { createMachine, type MachineOptions } from "./machine.ts";
import { createUnitProgram, type Region, type UnitProgram } from "./unit-program.ts";
import { createWeightMap } from "./weight-map.ts";

export type WasmExecutorOptions = MachineOptions;

/** A network of one size, ready to run. */
interface Network {
  readonly unit: UnitProgram;
  readonly pixels: Region;
  readonly labels?: Region;
  readonly report?: Region;
  /** Logits, or the queries, keys and values of a layer. */
  readonly result: Region;
}

/** What a network is for; an attention's place gives its queries, keys and values. */
type Purpose = "training" | "evaluation" | AttentionPlace;

/**
 * Creates the executor; weights come by `setWeights` before anything else. Rejects where the
 * kernels cannot be loaded, or threads not started (shared memory needs a cross-origin isolated
 * page).
 */
export async function createWasmExecutor(
  config: ModelConfig,
  options: WasmExecutorOptions,
): Promise<Executor> {
  const table = parameterTable(config.variant, config.classes);
  const machine = await createMachine(options);
  const weights = createWeightMap(table, machine.base);
  const networks = new Map<string, Network>();
  let resident: Network | undefined;
  let hasWeights = false;
  let hasStatistics = false;
  let closed = false;

  const network = (purpose: Purpose, h: number, w: number, b: number): Network => {
    const key = `${JSON.stringify(purpose)} ${h}x${w}x${b}`;
    let found = networks.get(key);
    if (!found) {
      found = build(purpose, h, w, b);
      networks.set(key, found);
    }
    return found;
  };
  const build = (purpose: Purpose, h: number, w: number, b: number): Network => {
    const place = (graph: Graph) => createUnitProgram(graph, weights, machine.threads);
    if (purpose === "evaluation") {
      const { graph, pixels, logits } = evaluationGraph(config, h, w, b);
      const unit = place(foldNorms(graph).graph);
      return { unit, pixels: unit.place(pixels), result: unit.place(logits) };
    }
    if (purpose !== "training") {
      const { graph, pixels, qkv } = attentionGraph(config, h, w, b, purpose);
      const unit = place(foldNorms(graph).graph);
      return { unit, pixels: unit.place(pixels), result: unit.place(qkv) };
    }
    const { graph, pixels, labels, logits, report } = trainingGraph(config, h, w, b);
    const unit = place(graph);
    return {
      unit,
      pixels: unit.place(pixels),
      labels: unit.place(labels),
      report: unit.place(report),
      result: unit.place(logits),
    };
  };
  const foldable = createFoldableWeights(config, (parameters, statistics) => {
    machine.reserve(weights.end);
    const engine = toEngineLayout(table.parameters, parameters);
    machine.floats(weights.parameters, table.parameterCount).set(engine);
    if (statistics) machine.floats(weights.statistics, table.statisticsCount).set(statistics);
    const { packingAt, packingProgram } = weights;
    machine.integers(packingAt, packingProgram.length).set(packingProgram);
    machine.run(packingAt, packingAt + packingProgram.length * 4, 0, 0);
  });
  /** Gradients' vectors to be used again: new ones cost a page fault for each 4 KiB. */
  const spare: Float32Array[] = [];
  const recycle = ({ gradient }: NodeGradient) => {
    if (spare.length < 4) spare.push(gradient);
  };
  const floats = ({ address, length }: Region) => machine.floats(address, length);

  /** Uploads a batch and runs its network. */
  const run = (purpose: Purpose, batch: Batch): Network => {
    if (closed) throw new Error("the wasm executor is closed; create another");
    if (!hasWeights) throw new Error("the wasm executor has no weights; call setWeights first");
    const { height, width, pixels, labels, seed } = batch;
    const samples = purpose === "training" ? labels.length : samplesOf(batch);
    if (pixels.length !== samples * height * width * 3)
      throw new Error(
        `expected pixels [${samples}, ${height}, ${width}, 3], got ${pixels.length} numbers`,
      );
    foldable.need(purpose === "training" ? "training" : "evaluation");
    const next = network(purpose, height, width, samples);
    const { unit } = next;
    machine.reserve(unit.end);
    if (resident !== next) {
      floats(unit.zeros).fill(0);
      machine.integers(unit.programAt, unit.program.words.length).set(unit.program.words);
      resident = next;
    }
    const words = machine.integers(unit.programAt, unit.program.words.length);
    for (const { word, site } of unit.program.seeds) words[word] = siteSeed(seed, site) | 0;
    floats(next.pixels).set(pixels);
    if (next.labels) floats(next.labels).set(labels);
    const end = unit.programAt + words.length * 4;
    machine.run(unit.programAt, end, unit.scratchAt, unit.program.scratchBytes);
    return next;
  };

  return {
    info: {
      executor: "wasm",
      description: `wasm, ${options.relaxed ? "relaxed" : "portable"} SIMD, ${machine.threads} ${machine.threads === 1 ? "thread" : "threads"}`,
      deterministic: !options.relaxed,
      software: false,
    },

    async setWeights(parameters, statistics) {
      if (statistics && statistics.length !== table.statisticsCount)
        throw new Error(
          `expected ${table.statisticsCount} running statistics, got ${statistics.length}`,
        );
      foldable.set(parameters, statistics);
      hasWeights = true;
      hasStatistics = statistics !== undefined;
    },

    startNode() {
      let sum = createTreeSum(recycle);
      return {
        async add(batch, signal): Promise<UnitReport> {
          signal?.throwIfAborted();
          const started = performance.now();
          const { unit, report } = run("training", batch);
          const [loss, top1, top5] = floats(report as Region);
          const samples = batch.labels.length;
          const sums = read(unit, samples);
          checkUnit(table, batch.height, batch.width, loss, sums.gradient);
          sum.add({ samples, loss, top1, top5, ...sums });
          return { loss, top1, top5, computeMs: performance.now() - started };
        },
        async finish(): Promise<NodeGradient> {
          const node = sum.finish();
          const gradient = fromEngineLayout(table.parameters, node.gradient);
          recycle(node);
          return { ...node, gradient };
        },
        abandon() {
          sum = createTreeSum(recycle);
        },
      };
    },

    async predict(batch) {
      if (!hasStatistics)
        throw new Error("prediction needs running statistics; give them to setWeights");
      return floats(run("evaluation", batch).result).slice();
    },

    async attention(batch, place) {
      if (!hasStatistics)
        throw new Error("attention needs running statistics; give them to setWeights");
      const { result } = run(place, batch);
      return attentionMap(floats(result), samplesOf(batch), config.variant, place);
    },

    plannedBytes: (height, width, batch) => network("training", height, width, batch).unit.end,

    async close() {
      closed = true;
      await machine.close();
    },
  };

  /** A unit's gradient, still in the engine's layouts, and its statistics times its samples. */
  function read(unit: UnitProgram, samples: number) {
    const gradient = spare.pop() ?? new Float32Array(table.parameterCount);
    for (const region of unit.gradients) gradient.set(floats(region), region.offset);
    const statistics = new Float32Array(table.statisticsCount);
    for (const region of unit.statistics) statistics.set(floats(region), region.offset);
    for (let i = 0; i < statistics.length; i++) statistics[i] *= samples;
    return { gradient, statistics };
  }
}
