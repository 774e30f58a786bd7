/** `swarmvit eval`: top-1, top-5 and loss of a model over a dataset's validation images. */

import { ConfigError } from "@swarmvit/shared/config";
import { score } from "@swarmvit/worker/engine/score";
import { buildBatch } from "@swarmvit/worker/input/batch";
import { decodeInNode } from "@swarmvit/worker/input/decode-node";
import pc from "picocolors";
import type { SampleSource } from "../datasets/dataset.ts";
import { normaliseImage } from "../datasets/normalise-image.ts";
import { openDataset } from "../datasets/open-dataset.ts";
import { EXIT } from "./exit-codes.ts";
import { loadModel, type Model } from "./model-source.ts";
import { imageSize, openPredictor } from "./predictor.ts";
import { openTerminal } from "./terminal.ts";

export interface EvaluateOptions {
  readonly data: string;
  readonly imgSize?: string;
  readonly which: string;
  readonly runsDir: string;
  readonly json?: boolean;
}

const BATCH = 32;

/** Prints the result; resolves to the exit code. Images that cannot be decoded are named and left out. */
export async function evaluate(source: string, options: EvaluateOptions): Promise<number> {
  if (options.which !== "ema" && options.which !== "raw")
    throw new ConfigError("which", `--which must be ema or raw (got "${options.which}")`);
  const terminal = openTerminal();
  const model = await loadModel(source, options.runsDir, options.which);
  // The seed only splits a folder without val/: the run's own, so that none of its training images count.
  const dataset = await openDataset(options.data, { seed: Number(model.metadata.seed ?? 42) });
  checkClasses(model, dataset.classes);
  const size = imageSize(options.imgSize, model);
  const executor = await openPredictor(model);
  const total = { samples: 0, loss: 0, top1: 0, top5: 0 };
  let skipped = 0;
  try {
    const { validation } = dataset;
    for (let first = 0; first < validation.count; first += BATCH) {
      const end = Math.min(first + BATCH, validation.count);
      // As packing does it, so that the pixels are those of training's validation.
      const images = await readImages(validation, range(first, end), (line) => {
        skipped++;
        terminal.log(pc.yellow(line));
      });
      if (images.size === 0) continue;
      const batch = await buildBatch(
        { height: size, width: size, samples: [...images.keys()], seed: 0 },
        {
          kind: "evaluation",
          getSample: async (id) => ({ bytes: images.get(id)!, label: validation.label(id) }),
          decode: decodeInNode,
          augment: {
            cropScale: [1, 1],
            cropRatio: [1, 1],
            flip: false,
            evalResize: model.evalResize,
          },
        },
      );
      const counts = score(await executor.predict(batch), batch.labels);
      total.samples += counts.samples;
      total.loss += counts.loss;
      total.top1 += counts.top1;
      total.top5 += counts.top5;
      terminal.progress("evaluating", total.samples, validation.count);
    }
  } finally {
    await executor.close();
    terminal.close();
  }
  const { samples } = total;
  if (samples === 0) throw new Error(`none of the ${skipped} validation images could be decoded`);
  const result = {
    model: model.file,
    data: options.data,
    imgSize: size,
    samples,
    skipped,
    top1: total.top1 / samples,
    top5: total.top5 / samples,
    loss: total.loss / samples,
  };
  terminal.print(
    options.json
      ? JSON.stringify(result)
      : `top-1 ${(100 * result.top1).toFixed(2)} %  top-5 ${(100 * result.top5).toFixed(2)} %  loss ${result.loss.toFixed(4)}  (${samples} images at ${size}x${size}, ${model.file})`,
  );
  return EXIT.done;
}

function checkClasses(model: Model, classes: readonly string[]): void {
  if (model.classes.length !== classes.length)
    throw new ConfigError(
      "data",
      `the model has ${model.classes.length} classes, the data ${classes.length}: evaluate on data of the same classes`,
    );
  const named = model.metadata.classes !== undefined;
  const other = classes.findIndex((name, i) => name !== model.classes[i]);
  if (named && other >= 0)
    throw new ConfigError(
      "data",
      `class ${other} is "${model.classes[other]}" in the model and "${classes[other]}" in the data: evaluate on data of the same classes`,
    );
}

/** The images that decode, by id; the others are told of. */
async function readImages(
  source: SampleSource,
  ids: readonly number[],
  tell: (line: string) => void,
): Promise<Map<number, Uint8Array>> {
  const images = new Map<number, Uint8Array>();
  const read = ids.map(async (id) => {
    try {
      return (await normaliseImage(await source.read(id))).bytes;
    } catch (error) {
      tell(`skipped ${source.name(id)}: ${(error as Error).message}`);
      return undefined;
    }
  });
  for (const [i, bytes] of (await Promise.all(read)).entries())
    if (bytes) images.set(ids[i], bytes);
  return images;
}

function range(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, i) => first + i);
}
