/** Images a second through coordinator and one Node volunteer, beside the bare engine at the same units. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { effectiveConfig, runConfigSchema } from "@swarmvit/shared/config";
import { parameterTable } from "@swarmvit/shared/parameters";
import type { MetricRecord, StepRecord } from "@swarmvit/shared/run";
import { sizeTableOf, variantOf } from "@swarmvit/shared/run-plan";
import { modelOf } from "@swarmvit/worker/bench/unit";
import { formulaBatch, formulaWeights } from "@swarmvit/worker/engine/formula-model";
import { createWasmExecutor } from "@swarmvit/worker/engine/wasm/executor";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import { startSwarmvit } from "../test/support/processes.ts";
import { machineLine } from "./machine-line.ts";

/** Fashion-MNIST's, the data of `npm start`. */
const CLASSES = 10;
const BARE_ROUNDS = 5;

const HELP = `usage: npm run bench -- end-to-end [--steps N] [--warm-up N] [-- flags of train]

Trains with npm start's settings and one local volunteer, and compares its images a second after the
warm-up with the wasm executor alone at the same units (measured before and after).

  --steps N     in all (default 60)
  --warm-up N   steps at the start that do not count (default 15)`;

/** Measures and prints. */
export async function run(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      steps: { type: "string", default: "60" },
      "warm-up": { type: "string", default: "15" },
      help: { type: "boolean" },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  console.log(machineLine());
  const config = effectiveConfig(runConfigSchema.parse({}));
  const before = await bareEngine();
  const steps = await train(Number(values.steps), positionals);
  const after = await bareEngine();

  const counted = steps.slice(Number(values["warm-up"]));
  const [first] = counted;
  const last = counted[counted.length - 1];
  const samples = counted.slice(1).reduce((sum, step) => sum + step.samples, 0);
  const endToEnd = (1000 * samples) / (last.time - first.time);
  const bare = new Map<string, number>();
  for (const [size, ms] of before) bare.set(size, (ms + (after.get(size) ?? ms)) / 2);
  let bareMs = 0;
  for (const step of counted.slice(1))
    for (const [size, units] of Object.entries(step.resolutions))
      bareMs += units * (bare.get(size) ?? Number.NaN);
  const alone = (1000 * samples) / bareMs;
  for (const [size, ms] of bare) {
    const drift = (after.get(size) ?? ms) / (before.get(size) ?? ms);
    console.log(`bare ${size}: ${ms.toFixed(1)} ms a unit (after / before ${drift.toFixed(2)})`);
  }
  console.log(
    `${counted.length - 1} steps, ${samples} images: ${endToEnd.toFixed(1)} images/s end to end, ` +
      `${alone.toFixed(1)} images/s bare, ratio ${((100 * endToEnd) / alone).toFixed(1)} %`,
  );

  /** Median milliseconds of a unit of each size that the run draws. */
  async function bareEngine(): Promise<Map<string, number>> {
    console.error("The bare engine …");
    const variant = variantOf(config);
    const model = { ...modelOf({ variant }), classes: CLASSES };
    const executor = await createWasmExecutor(model, { loadModule: loadModuleFromDisk });
    await executor.setWeights(formulaWeights(parameterTable(variant, CLASSES)).parameters);
    const times = new Map<string, number>();
    for (const { height, width, batch } of sizeTableOf(config)) {
      const unit = formulaBatch(variant, height, width, batch, CLASSES);
      const rounds: number[] = [];
      for (let round = 0; round <= BARE_ROUNDS; round++) {
        const node = executor.startNode();
        const started = performance.now();
        await node.add(unit);
        if (round > 0) rounds.push(performance.now() - started);
        node.abandon();
      }
      times.set(`${height}x${width}`, rounds.sort((a, b) => a - b)[BARE_ROUNDS >> 1]);
    }
    await executor.close();
    return times;
  }
}

/** The step records of a run with one local volunteer. */
async function train(steps: number, flags: readonly string[]): Promise<StepRecord[]> {
  const folder = await mkdtemp(join(tmpdir(), "swarmvit-bench-"));
  try {
    const process_ = startSwarmvit([
      ...["train", "--local-workers", "1", "--port", "0", "--max-steps", String(steps)],
      ...["--exit-when-done", "--runs-dir", folder, "--name", "bench", ...flags],
    ]);
    console.error(`Training ${steps} steps …`);
    const { code } = await process_.exited;
    if (code !== 0) throw new Error(`train ended with ${code}:\n${process_.output().slice(-2000)}`);
    const lines = (await readFile(join(folder, "bench/metrics.jsonl"), "utf8")).trim().split("\n");
    return lines
      .map((line) => JSON.parse(line) as MetricRecord)
      .filter((record): record is StepRecord => record.kind === "step");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
