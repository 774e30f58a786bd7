/** `swarmvit predict`: logits and the five likeliest classes of image files. */

import { readFile } from "node:fs/promises";
import { buildBatch } from "@swarmvit/worker/input/batch";
import { decodeInNode } from "@swarmvit/worker/input/decode-node";
import { DataError } from "../datasets/data-error.ts";
import { normaliseImage } from "../datasets/normalise-image.ts";
import { EXIT } from "./exit-codes.ts";
import { loadModel, type Model } from "./model-source.ts";
import { imageSize, openPredictor } from "./predictor.ts";
import { openTerminal } from "./terminal.ts";

export interface PredictOptions {
  readonly imgSize?: string;
  readonly runsDir: string;
  readonly json?: boolean;
}

interface Prediction {
  readonly image: string;
  readonly top5: readonly { readonly class: string; readonly probability: number }[];
  readonly logits: readonly number[];
}

/** Prints a block an image (or one JSON array). An unreadable image is exit code 3, after the others. */
export async function predict(
  source: string,
  images: readonly string[],
  options: PredictOptions,
): Promise<number> {
  const terminal = openTerminal();
  const model = await loadModel(source, options.runsDir);
  const size = imageSize(options.imgSize, model);
  const executor = await openPredictor(model);
  const predictions: Prediction[] = [];
  let failures = 0;
  try {
    for (const image of images) {
      try {
        const { bytes } = await normaliseImage({ bytes: await readImage(image) });
        const batch = await buildBatch(
          { height: size, width: size, samples: [0], seed: 0 },
          {
            kind: "evaluation",
            getSample: async () => ({ bytes, label: 0 }),
            decode: decodeInNode,
            augment: {
              cropScale: [1, 1],
              cropRatio: [1, 1],
              flip: false,
              evalResize: model.evalResize,
            },
          },
        );
        const prediction = rank(image, await executor.predict(batch), model);
        predictions.push(prediction);
        if (!options.json) terminal.print(render(prediction));
      } catch (error) {
        failures++;
        const cause = (error as Error).cause;
        const reason = cause instanceof Error ? cause.message : (error as Error).message;
        terminal.log(`${image}: ${reason}`);
      }
    }
  } finally {
    await executor.close();
  }
  if (options.json) terminal.print(JSON.stringify(predictions));
  return failures > 0 ? EXIT.data : EXIT.done;
}

async function readImage(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new DataError(path, (error as Error).message, "Name image files that can be read.");
  }
}

function rank(image: string, logits: Float32Array, model: Model): Prediction {
  const most = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const exponentials = Array.from(logits, (logit) => Math.exp(logit - most));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  const top5 = exponentials
    .map((value, i) => ({ class: model.classes[i], probability: value / sum }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, 5);
  return { image, top5, logits: Array.from(logits) };
}

function render({ image, top5, logits }: Prediction): string {
  const width = Math.max(...top5.map(({ class: name }) => name.length));
  const lines = top5.map(
    ({ class: name, probability }) =>
      `  ${name.padEnd(width)}  ${(100 * probability).toFixed(1).padStart(5)} %`,
  );
  const shown = logits
    .slice(0, 10)
    .map((value) => value.toFixed(4))
    .join(" ");
  const more = logits.length > 10 ? ` … (${logits.length} in all: --json prints them)` : "";
  return [image, ...lines, `  logits ${shown}${more}`].join("\n");
}
