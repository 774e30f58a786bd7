/**
 * What one unit costs on the `wasm` executor's kernels: a whole step, and where it goes.
 *
 *   npx tsx bench/engine-wasm.ts [variant] [size] [batch] [threads] [--relaxed] [--commands]
 *
 * Prints the best of several steps (milliseconds, images/s) and, command by command, milliseconds
 * and GFLOPS on one thread. Times are processor time where one thread runs, so that a busy machine
 * disturbs them less.
 */

import { parameterTable } from "@swarmvit/shared/parameters";
import { fill } from "@swarmvit/shared/random";
import type { VariantName } from "@swarmvit/shared/variants";
import { trainingGraph } from "@swarmvit/worker/engine/mobilevit";
import { createMachine } from "@swarmvit/worker/engine/wasm/machine";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import { commandsOf } from "@swarmvit/worker/engine/wasm/program";
import { createUnitProgram } from "@swarmvit/worker/engine/wasm/unit-program";
import { createWeightMap } from "@swarmvit/worker/engine/wasm/weight-map";

const flags = process.argv.slice(2).filter((arg) => arg.startsWith("--"));
const [variant = "xxs", size = "64", batch = "32", threads = "1"] = process.argv
  .slice(2)
  .filter((arg) => !arg.startsWith("--"));
const relaxed = flags.includes("--relaxed");
const [extent, samples, count] = [size, batch, threads].map(Number);
const config = {
  variant: variant as VariantName,
  classes: 1000,
  dropout: 0.05,
  headDropout: 0.1,
  smoothing: 0.1,
};

const machine = await createMachine({ loadModule: loadModuleFromDisk, threads: count, relaxed });
const table = parameterTable(config.variant, config.classes);
const weights = createWeightMap(table, machine.base);
const { graph, pixels, labels } = trainingGraph(config, extent, extent, samples);
const unit = createUnitProgram(graph, weights, count);
const { words, scratchBytes } = unit.program;
machine.reserve(unit.end);

const parameters = fill("bench", table.parameterCount, 0, 0.1);
for (const { kind, offset, size: length } of table.parameters)
  if (kind.endsWith("gamma")) parameters.fill(1, offset, offset + length);
machine.floats(weights.parameters, parameters.length).set(parameters);
const { packingAt, packingProgram } = weights;
machine.integers(packingAt, packingProgram.length).set(packingProgram);
machine.run(packingAt, packingAt + packingProgram.length * 4, 0, 0);
machine.integers(unit.programAt, words.length).set(words);
machine.floats(unit.zeros.address, unit.zeros.length).fill(0);
const input = unit.place(pixels);
machine.floats(input.address, input.length).set(fill("pixels", input.length, 0.5, 0.5));
const wanted = unit.place(labels);
machine.floats(wanted.address, wanted.length).fill(3);

const run = (from: number, to: number) => {
  const { programAt, scratchAt } = unit;
  machine.run(programAt + from * 4, programAt + to * 4, scratchAt, scratchBytes);
};

/** Milliseconds of a function: of the processor where one thread runs, of the clock otherwise. */
function timed(f: () => void): number {
  if (count > 1) {
    const started = performance.now();
    f();
    return performance.now() - started;
  }
  const started = process.cpuUsage();
  f();
  const { user, system } = process.cpuUsage(started);
  return (user + system) / 1000;
}

const firstMs = timed(() => run(0, words.length));
await new Promise((resolve) => setTimeout(resolve, 500)); // let the optimising compiler finish
const steps = Array.from({ length: 12 }, () => timed(() => run(0, words.length)));
const best = Math.min(...steps);
const MiB = 2 ** 20;
console.log(
  `${variant} ${size}x${size} batch ${batch}, ${threads} thread(s)${relaxed ? ", relaxed" : ""}: ` +
    `best ${best.toFixed(1)} ms, median ${median(steps).toFixed(1)} ms, ` +
    `${((samples / best) * 1000).toFixed(0)} images/s; first ${firstMs.toFixed(0)} ms; ` +
    `arena ${(unit.arenaBytes / MiB).toFixed(1)} MiB, all ${(unit.end / MiB).toFixed(1)} MiB`,
);

if (count === 1) {
  const rows = [...commandsOf(words)].map(({ name, word, length }) => ({
    name,
    word,
    length,
    ms: Number.POSITIVE_INFINITY,
  }));
  for (let round = 0; round < 30; round++)
    for (const row of rows) {
      const started = performance.now();
      run(row.word, row.word + row.length);
      row.ms = Math.min(row.ms, performance.now() - started);
    }
  const byName = new Map<string, { ms: number; gflop: number; calls: number }>();
  for (const { name, word, length, ms } of rows) {
    const args = [...words.subarray(word + 3, word + length)];
    const gflop = gflopOf(name, args);
    if (flags.includes("--commands"))
      console.log(
        `${name.padEnd(24)} ${ms.toFixed(3)} ms ${((gflop / ms) * 1000).toFixed(1)} GFLOPS  ${args.slice(gflop ? 4 : 3).join(" ")}`,
      );
    const sum = byName.get(name) ?? { ms: 0, gflop: 0, calls: 0 };
    byName.set(name, { ms: sum.ms + ms, gflop: sum.gflop + gflop, calls: sum.calls + 1 });
  }
  const total = rows.reduce((sum, { ms }) => sum + ms, 0);
  console.log(`sum of the commands' best: ${total.toFixed(1)} ms`);
  for (const [name, { ms, gflop, calls }] of [...byName].sort((a, b) => b[1].ms - a[1].ms))
    console.log(
      `${name.padEnd(24)} ${ms.toFixed(2).padStart(8)} ms ${((100 * ms) / total).toFixed(1).padStart(5)} %  ` +
        `${calls} calls${gflop ? `, ${((gflop / ms) * 1000).toFixed(1)} GFLOPS` : ""}`,
    );
}
await machine.close();

/** Arithmetic of the products and convolutions, 10^9 operations. */
function gflopOf(name: string, a: readonly number[]): number {
  switch (name) {
    case "linear":
    case "linearWeightGrad":
      return (2 * a[4] * a[5] * a[6]) / 1e9;
    case "convolution":
      return (2 * a[2] * a[3] * 9 * a[9]) / 1e9;
    case "convolutionWeightGrad":
      return (2 * a[2] * a[3] * 9 * a[10]) / 1e9;
    case "depthwise":
    case "depthwiseSpread":
    case "depthwiseWeightGrad":
      return (18 * a[4] * Math.min(a[5] * a[6], a[8] * a[9]) * a[7]) / 1e9;
    default:
      return 0;
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}
