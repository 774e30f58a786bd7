// The command line as people and scripts meet it: exit codes, messages, files, eval and predict.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { initialParameters, initialStatistics } from "@swarmvit/shared/init";
import { encodeModel } from "@swarmvit/shared/model-weights";
import { parameterTable } from "@swarmvit/shared/parameters";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  joinUrl,
  killAll,
  readMetrics,
  readSteps,
  startSwarmvit,
  TINY,
  writeTinyFolder,
} from "../support/processes.ts";

let root: string;
let data: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "swarmvit-cli-"));
  data = writeTinyFolder(join(root, "data"));
});
afterEach(killAll);
afterAll(() => rmSync(root, { recursive: true, force: true }));

async function run(...args: string[]) {
  const process_ = startSwarmvit(args, root);
  const { code } = await process_.exited;
  return { code, output: process_.output() };
}

describe("a wrong command ends with a message that helps", () => {
  test("unknown flag: 2, with the nearest", async () => {
    const { code, output } = await run("train", "--epoch", "3");
    expect(code).toBe(2);
    expect(output).toContain("Did you mean --epochs?");
  });

  test("settings against each other: 2, and no run is left behind", async () => {
    const { code, output } = await run("train", "--batch-size", "64", "--unit-size", "24");
    expect(code).toBe(2);
    expect(output).toContain("--unit-size must divide --batch-size");
    expect(existsSync(join(root, "runs"))).toBe(false);
  });

  test("unknown key in a config file: 2", async () => {
    writeFileSync(join(root, "bad.yaml"), "epoks: 3\n");
    const { code, output } = await run("train", "-c", "bad.yaml");
    expect(code).toBe(2);
    expect(output).toContain('unknown key "epoks": did you mean "epochs"?');
  });

  test("missing and empty data: 3, with what was expected", async () => {
    const missing = await run("train", "--data", "nowhere", "--runs-dir", "r1");
    expect(missing.code).toBe(3);
    expect(missing.output).toContain("nowhere");
    expect(missing.output).toContain("DIR/train/CLASS");
    mkdirSync(join(root, "empty"));
    expect((await run("train", "--data", "empty", "--runs-dir", "r1")).code).toBe(3);
  });

  test("weights of another variant or class count, and no weights at all: 2, saying which", async () => {
    const init = (file: string) =>
      run("train", "--data", data, "--init", file, "--runs-dir", "r2", ...TINY);
    for (const [variant, classes] of [
      ["xs", 3],
      ["xxs", 7],
    ] as const) {
      const table = parameterTable(variant, classes);
      const names = Array.from({ length: classes }, (_, i) => String(i));
      const weights = encodeModel(table, initialParameters(table, 1), initialStatistics(table), {
        which: "raw",
        classes: names,
        step: 0,
      });
      writeFileSync(join(root, `${variant}.safetensors`), weights);
      const { code, output } = await init(`${variant}.safetensors`);
      expect(code).toBe(2);
      expect(output).toContain(`mobilevit_${variant} with ${classes} classes`);
      expect(output).toContain("not mobilevit_xxs with 3 classes");
    }
    writeFileSync(join(root, "rubbish.safetensors"), "rubbish");
    const { code, output } = await init("rubbish.safetensors");
    expect(code).toBe(2);
    expect(output).toContain("rubbish.safetensors");
    expect(existsSync(join(root, "r2"))).toBe(false);
  });

  test("a certificate that is not there: 4", async () => {
    const { code } = await run(
      "train",
      "--data",
      data,
      "--cert",
      "a.pem",
      "--key",
      "b.pem",
      "--runs-dir",
      "r3",
      ...TINY,
    );
    expect(code).toBe(4);
  });

  test("work with a wrong link: 2", async () => {
    expect((await run("work", "nonsense")).code).toBe(2);
  });
});

describe("a run from start to model", () => {
  const train = (...more: string[]) =>
    startSwarmvit(
      [
        "train",
        "--data",
        data,
        "--runs-dir",
        "runs",
        "--name",
        "shapes",
        ...TINY,
        "--epochs",
        "2",
        ...more,
      ],
      root,
    );

  test("trains with local workers, evaluates, and leaves its files", async () => {
    writeFileSync(join(data, "train", "bar", "broken.png"), "not an image");
    const process_ = train("--local-workers", "1", "--exit-when-done");
    const { code } = await process_.exited;
    expect(code, process_.output()).toBe(0);
    expect(process_.output()).toContain("broken.png"); // counted, named, skipped
    const directory = join(root, "runs", "shapes");
    expect(readdirSync(directory)).toEqual(
      expect.arrayContaining([
        "config.yaml",
        "metrics.jsonl",
        "checkpoints",
        "shards",
        "best.safetensors",
        "last.safetensors",
      ]),
    );
    expect(readdirSync(join(directory, "checkpoints"))).toContain("MANIFEST.json");
    const steps = readSteps(directory);
    expect(steps.map(({ step }) => step)).toEqual(steps.map((_, i) => i + 1));
    expect(Object.keys(steps[0])).toEqual(
      expect.arrayContaining([
        "step",
        "epoch",
        "time",
        "loss",
        "lr",
        "grad_norm",
        "samples",
        "images_per_second",
        "workers",
        "resolutions",
        "bytes_in",
        "bytes_out",
        "weights",
      ]),
    );
    const evaluation = readMetrics(directory).findLast((record) => record.kind === "eval");
    expect(evaluation).toMatchObject({ samples: 24, step: steps.length });
  }, 180_000);

  test("an existing name: 2, naming both choices; a changed setting on --resume: 2, old and new", async () => {
    const again = train();
    expect((await again.exited).code).toBe(2);
    expect(again.output()).toMatch(/add --resume .* or choose another --name/);
    const changed = await run(
      "train",
      "--runs-dir",
      "runs",
      "--name",
      "shapes",
      "--resume",
      "--lr",
      "0.5",
      ...["--codec", "int8"],
    );
    expect(changed.code).toBe(2);
    expect(changed.output).toContain("--lr: 0.003 → 0.5");
    expect(changed.output).toContain('--codec: "f32" → "int8"');
  });

  test("eval agrees with the run's own evaluation", async () => {
    const { code, output } = await run("eval", "shapes", "--data", data, "--json");
    expect(code, output).toBe(0);
    const result = JSON.parse(output.trim().split("\n").at(-1) ?? "");
    const best = readMetrics(join(root, "runs", "shapes"))
      .filter((record) => record.kind === "eval")
      .map((record) => record.top1);
    expect(result.samples).toBe(24);
    expect(result.top1).toBeCloseTo(Math.max(...best), 6);
  }, 60_000);

  test("predict names the class of an image, and goes on after a bad one with 3", async () => {
    const image = join(data, "val", "disc", "0.png");
    const { code, output } = await run("predict", "shapes", image, "--json");
    expect(code, output).toBe(0);
    const [prediction] = JSON.parse(output.trim().split("\n").at(-1) ?? "");
    expect(prediction.logits).toHaveLength(3);
    const sum = prediction.top5.reduce(
      (total: number, { probability }: { probability: number }) => total + probability,
      0,
    );
    expect(sum).toBeCloseTo(1, 5);
    const bad = await run("predict", "shapes", join(root, "bad.yaml"), image);
    expect(bad.code).toBe(3);
    expect(bad.output).toContain("bad.yaml");
    expect(bad.output).toContain("disc");
  }, 60_000);

  test("interrupted: 130, saved, and --resume goes on", async () => {
    const process_ = startSwarmvit(
      [
        "train",
        "--data",
        data,
        "--runs-dir",
        "runs",
        "--name",
        "stopped",
        ...TINY,
        "--epochs",
        "50",
        "--local-workers",
        "1",
      ],
      root,
    );
    const url = await joinUrl(process_);
    const step = async () =>
      ((await (await fetch(new URL("/api/run", url))).json()) as { step: number }).step;
    await expect.poll(step, { interval: 25, timeout: 60_000 }).toBeGreaterThanOrEqual(3);
    process_.child.kill("SIGINT");
    expect((await process_.exited).code).toBe(130);
    const saved = readSteps(join(root, "runs", "stopped")).length;
    expect(saved).toBeGreaterThanOrEqual(3);
    const resumed = await run(
      ...["train", "--runs-dir", "runs", "--name", "stopped", "--resume"],
      ...[
        "--max-steps",
        String(saved + 2),
        "--local-workers",
        "1",
        "--port",
        "0",
        "--exit-when-done",
      ],
    );
    expect(resumed.code, resumed.output).toBe(0);
    expect(readSteps(join(root, "runs", "stopped"))).toHaveLength(saved + 2);
  }, 120_000);

  test("a port in use: the next free one, said aloud", async () => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
    const { port } = blocker.address() as { port: number };
    try {
      const process_ = startSwarmvit(
        ["train", "--data", data, "--runs-dir", "ports", ...TINY, "--port", String(port)],
        root,
      );
      const url = await joinUrl(process_);
      expect(Number(new URL(url).port)).toBeGreaterThan(port);
      expect(process_.output()).toMatch(new RegExp(`port ${port} .*in use`, "i"));
    } finally {
      blocker.close();
    }
  }, 60_000);
});
