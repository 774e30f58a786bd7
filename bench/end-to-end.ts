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
import { joinUrl, killAll, startSwarmvit } from "../test/support/processes.ts";
import { machineLine } from "./machine-line.ts";

/** Fashion-MNIST's, the data of `npm start`. */
const CLASSES = 10;
/** Training goes on for this long between two looks at the bare engine. */
const BLOCK_MS = 3_000;

const HELP = `usage: npm run bench -- end-to-end [--steps N] [--warm-up N] [-- flags of train]

Trains with npm start's settings and one volunteer in Node. Every few seconds both are stopped and the
wasm executor computes the same units alone, so that a busy machine disturbs both alike; steps that
were stopped do not count.

  --steps N     in all (default 100)
  --warm-up N   steps at the start that do not count (default 15)`;

/** From when to when training stood still, Unix milliseconds. */
type Stop = readonly [from: number, to: number];

/** Measures and prints. */
export async function run(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      steps: { type: "string", default: "100" },
      "warm-up": { type: "string", default: "15" },
      help: { type: "boolean" },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  console.log(machineLine());
  const bare = await openBareEngine();
  const { steps, stops } = await train(Number(values.steps), positionals, bare.round);
  await bare.close();

  let [samples, milliseconds, bareMs, counted] = [0, 0, 0, 0];
  for (let i = Number(values["warm-up"]); i < steps.length; i++) {
    const [from, to] = [steps[i - 1].time, steps[i].time];
    if (stops.some((stop) => stop[0] < to && stop[1] > from)) continue;
    counted++;
    samples += steps[i].samples;
    milliseconds += to - from;
    for (const [size, units] of Object.entries(steps[i].resolutions))
      bareMs += units * bare.meanMs(size);
  }
  const [endToEnd, alone] = [milliseconds, bareMs].map((ms) => (1000 * samples) / ms);
  console.log(
    `${counted} steps, ${samples} images: ${endToEnd.toFixed(1)} images/s end to end, ` +
      `${alone.toFixed(1)} images/s bare, ratio ${((100 * endToEnd) / alone).toFixed(1)} %`,
  );
}

/** The executor alone, at every size that a run with default settings draws. */
async function openBareEngine() {
  const config = effectiveConfig(runConfigSchema.parse({}));
  const variant = variantOf(config);
  const model = { ...modelOf({ variant }), classes: CLASSES };
  const executor = await createWasmExecutor(model, { loadModule: loadModuleFromDisk });
  await executor.setWeights(formulaWeights(parameterTable(variant, CLASSES)).parameters);
  const units = sizeTableOf(config).map(({ height, width, batch }) =>
    formulaBatch(variant, height, width, batch, CLASSES),
  );
  const times = new Map<string, number[]>();
  const round = async () => {
    for (const unit of units) {
      const node = executor.startNode();
      const started = performance.now();
      await node.add(unit);
      const ms = performance.now() - started;
      node.abandon();
      const size = `${unit.height}x${unit.width}`;
      times.set(size, [...(times.get(size) ?? []), ms]);
    }
  };
  await round(); // compiles
  await round();
  times.clear();
  return {
    round,
    close: () => executor.close(),
    meanMs(size: string): number {
      const of = times.get(size) ?? [];
      return of.reduce((sum, ms) => sum + ms, 0) / of.length;
    },
  };
}

/** The step records of a run with one volunteer, which stands still while `meanwhile` computes. */
async function train(steps: number, flags: readonly string[], meanwhile: () => Promise<void>) {
  const folder = await mkdtemp(join(tmpdir(), "swarmvit-bench-"));
  const stops: Stop[] = [];
  try {
    console.error(`Training ${steps} steps …`);
    const coordinator = startSwarmvit([
      ...["train", "--port", "0", "--max-steps", String(steps), "--exit-when-done"],
      ...["--runs-dir", folder, "--name", "bench", ...flags],
    ]);
    const volunteer = startSwarmvit(["work", await joinUrl(coordinator), "--backend", "wasm"]);
    let over = false;
    const ended = coordinator.exited.then(({ code }) => {
      over = true;
      return code;
    });
    for (;;) {
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, BLOCK_MS))]);
      if (over) break;
      const from = Date.now();
      for (const { child } of [volunteer, coordinator]) child.kill("SIGSTOP");
      await meanwhile();
      for (const { child } of [coordinator, volunteer]) child.kill("SIGCONT");
      stops.push([from, Date.now()]);
    }
    const code = await ended;
    if (code !== 0)
      throw new Error(`train ended with ${code}:\n${coordinator.output().slice(-2000)}`);
    const lines = (await readFile(join(folder, "bench/metrics.jsonl"), "utf8")).trim().split("\n");
    const records = lines
      .map((line) => JSON.parse(line) as MetricRecord)
      .filter((record): record is StepRecord => record.kind === "step");
    return { steps: records, stops };
  } finally {
    await killAll();
    await rm(folder, { recursive: true, force: true });
  }
}
