/** Times of each kind of operation on the `wasm` executor's kernels, one thread. */

import { parameterTable } from "@swarmvit/shared/parameters";
import { formulaWeights } from "../engine/formula-model.ts";
import type { OperationKind } from "../engine/graph.ts";
import { toEngineLayout } from "../engine/layout.ts";
import { trainingGraph } from "../engine/mobilevit.ts";
import { createMachine, type LoadModule } from "../engine/wasm/machine.ts";
import { createUnitProgram } from "../engine/wasm/unit-program.ts";
import { createWeightMap } from "../engine/wasm/weight-map.ts";
import { processorLimits } from "./limits.ts";
import { type Profile, profileOf } from "./profile.ts";
import { batchOf, CLASSES, modelOf, type UnitSize } from "./unit.ts";

const ROUNDS = 6;

/** Runs a unit operation by operation; the best round of each counts. */
export async function profileWasm(unit: UnitSize, loadModule: LoadModule): Promise<Profile> {
  const { variant, height, width, batch } = unit;
  const machine = await createMachine({ loadModule });
  try {
    const table = parameterTable(variant, CLASSES);
    const weights = createWeightMap(table, machine.base);
    const { graph, pixels, labels } = trainingGraph(modelOf(unit), height, width, batch);
    const placed = createUnitProgram(graph, weights, machine.threads);
    const { words, starts, scratchBytes } = placed.program;
    machine.reserve(placed.end);
    const run = (from: number, to: number) => machine.run(from, to, placed.scratchAt, scratchBytes);
    const write = (address: number, values: ArrayLike<number>) =>
      machine.floats(address, values.length).set(values);

    const { parameters } = formulaWeights(table);
    write(weights.parameters, toEngineLayout(table.parameters, parameters));
    const { packingAt, packingProgram } = weights;
    machine.integers(packingAt, packingProgram.length).set(packingProgram);
    run(packingAt, packingAt + packingProgram.length * 4);
    machine.integers(placed.programAt, words.length).set(words);
    machine.floats(placed.zeros.address, placed.zeros.length).fill(0);
    const images = batchOf(unit);
    write(placed.place(pixels).address, images.pixels);
    write(placed.place(labels).address, images.labels);

    const best = graph.operations.map(() => Number.POSITIVE_INFINITY);
    for (let round = 0; round < ROUNDS; round++)
      for (let i = 0; i < starts.length; i++) {
        const end = starts[i + 1] ?? words.length;
        const started = performance.now();
        run(placed.programAt + starts[i] * 4, placed.programAt + end * 4);
        best[i] = Math.min(best[i], performance.now() - started);
      }
    const times = new Map<OperationKind, number>();
    for (const [i, { op }] of graph.operations.entries())
      times.set(op, (times.get(op) ?? 0) + best[i]);
    return profileOf(graph, times, await processorLimits());
  } finally {
    await machine.close();
  }
}
