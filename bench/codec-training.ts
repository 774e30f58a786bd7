/**
 * Does a coarse wire cost accuracy? Several seeds of each codec on Fashion-MNIST, XXS, at a small
 * image size so that a run takes minutes; frames, sums, log and deltas are those of a real run.
 *
 *   npx tsx bench/codec-training.ts [--codecs f32,f16,int8] [--seeds 1,2,3] [--jobs 2]
 *                                   [--epochs N] [--size PIXELS] [--max-steps N] [--results FILE]
 *
 * Results are appended to a file of JSON lines; what is in it already is not run again, so it can be
 * run in pieces. Ends with a table and says whether each codec is as good as f32: all runs at least
 * 80 % top-1, and the means apart by no more than the larger of 0.5 points and the pooled deviation.
 */

import { spawn } from "node:child_process";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { CODECS, type Codec } from "@swarmvit/shared/codec";
import { type CodecResult, type CodecRun, trainWithCodec } from "./codec-run.ts";

const { values } = parseArgs({
  options: {
    codecs: { type: "string", default: CODECS.join() },
    seeds: { type: "string", default: "1,2,3" },
    jobs: { type: "string", default: "1" },
    epochs: { type: "string", default: "5" },
    size: { type: "string", default: "32" },
    "max-steps": { type: "string" },
    results: { type: "string", default: "codec-training.jsonl" },
    one: { type: "boolean", default: false },
  },
});

const settings = {
  epochs: Number(values.epochs),
  imgSize: Number(values.size),
  maxSteps: values["max-steps"] === undefined ? undefined : Number(values["max-steps"]),
};
const wanted: CodecRun[] = values.seeds
  .split(",")
  .flatMap((seed) =>
    values.codecs
      .split(",")
      .map((codec) => ({ codec: codec as Codec, seed: Number(seed), ...settings })),
  );

if (values.one) await runOne(wanted[0]);
else {
  const missing = wanted.filter((run) => !resultOf(run));
  console.error(`${missing.length} of ${wanted.length} runs to do, ${values.jobs} at a time`);
  await Promise.all(
    Array.from({ length: Number(values.jobs) }, async () => {
      for (let run = missing.shift(); run; run = missing.shift()) await runInProcess(run);
    }),
  );
  report();
}

async function runOne(run: CodecRun): Promise<void> {
  const name = `${run.codec} seed ${run.seed}`;
  const started = performance.now();
  const result = await trainWithCodec(run, (step, of, loss) => {
    if (step % 50 > 0 && step !== of) return;
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    console.error(`${name}: step ${step} of ${of}, loss ${loss.toFixed(3)}, ${seconds} s`);
  });
  appendFileSync(values.results, `${JSON.stringify(result)}\n`);
}

/** Each run in a process of its own, so that several can go on beside each other. */
function runInProcess(run: CodecRun): Promise<void> {
  const { codec, seed, epochs, imgSize, maxSteps } = run;
  const given = ["--codecs", codec, "--seeds", seed, "--epochs", epochs, "--size", imgSize];
  if (maxSteps !== undefined) given.push("--max-steps", maxSteps);
  const script = fileURLToPath(import.meta.url);
  const args = [
    "--import",
    "tsx",
    script,
    "--one",
    "--results",
    values.results,
    ...given.map(String),
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: "inherit" });
    child.on("error", reject);
    child.on("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`${codec} seed ${seed} ended with code ${code}`)),
    );
  });
}

function results(): CodecResult[] {
  if (!existsSync(values.results)) return [];
  return readFileSync(values.results, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as CodecResult);
}

function resultOf(run: CodecRun): CodecResult | undefined {
  return results().find((result) =>
    (["codec", "seed", "epochs", "imgSize", "maxSteps"] as const).every(
      (key) => result[key] === run[key],
    ),
  );
}

function report(): void {
  const done = wanted.flatMap((run) => resultOf(run) ?? []);
  const groups = [...new Set(done.map(({ codec }) => codec))].map((codec) => {
    const runs = done.filter((result) => result.codec === codec);
    const accuracies = runs.map(({ top1 }) => 100 * top1);
    return { codec, runs, ...momentsOf(accuracies), least: Math.min(...accuracies) };
  });
  const reference = groups.find(({ codec }) => codec === "f32");
  console.log(
    "| codec | top-1 % by seed | mean | sd | raw mean | loss | up B | down B | s a run | against f32 |",
  );
  console.log("|---|---|---|---|---|---|---|---|---|---|");
  for (const { codec, runs, mean, variance, least } of groups) {
    const of = (pick: (result: CodecResult) => number) => momentsOf(runs.map(pick)).mean;
    const seeds = runs.map(({ top1 }) => (100 * top1).toFixed(2)).join(" · ");
    const [raw, loss] = [100 * of((run) => run.top1Raw), of((run) => run.loss)];
    const { up, down } = runs[0];
    const figures = [
      mean.toFixed(2),
      Math.sqrt(variance).toFixed(2),
      raw.toFixed(2),
      loss.toFixed(4),
    ];
    const verdict = reference ? against(reference, { mean, variance, least }) : "";
    console.log(
      `| ${[codec, seeds, ...figures, up, down, of((run) => run.seconds).toFixed(0), verdict].join(" | ")} |`,
    );
  }
}

interface Group {
  readonly mean: number;
  readonly variance: number;
  readonly least: number;
}

function against(reference: Group, group: Group): string {
  const difference = group.mean - reference.mean;
  const allowed = Math.max(0.5, Math.sqrt((reference.variance + group.variance) / 2));
  const good = Math.abs(difference) <= allowed && group.least >= 80;
  return `${difference >= 0 ? "+" : ""}${difference.toFixed(2)} of ±${allowed.toFixed(2)}: ${good ? "as good" : "NOT as good"}`;
}

function momentsOf(values: readonly number[]): { mean: number; variance: number } {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, variance: values.length > 1 ? squares / (values.length - 1) : 0 };
}
