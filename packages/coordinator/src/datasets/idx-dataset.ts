/** A dataset of IDX files named as MNIST's: one pair for training and, if there is one, for validation. */

import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ACCEPTED_LAYOUTS, DataError } from "./data-error.ts";
import {
  type Dataset,
  DEFAULT_VALIDATION_FRACTION,
  describeDataset,
  type OpenOptions,
  type SampleSource,
} from "./dataset.ts";
import { type IdxImages, readIdxImages, readIdxLabels } from "./idx.ts";
import { encodePng } from "./png.ts";
import { splitStratified } from "./split.ts";

/** E.g. `train-images-idx3-ubyte.gz`, `t10k-images.idx3-ubyte`, `emnist-letters-test-images-idx3-ubyte`. */
const IMAGES_NAME = /^(.*?)(train|t10k|test|validation|val)-images[-.]idx3-ubyte(\.gz)?$/;

interface Pair {
  readonly images: IdxImages;
  readonly labels: Uint8Array;
  readonly name: string;
}

/** The file names in a directory that are IDX images by name. */
export function idxImageNames(fileNames: readonly string[]): string[] {
  return fileNames.filter((name) => IMAGES_NAME.test(name)).sort();
}

/**
 * Opens the IDX files of a directory, or the pair that one images file belongs to. Class names are
 * the lines of `classes.txt` beside them, else the labels themselves. Throws a `DataError`.
 */
export async function openIdxDataset(path: string, options: OpenOptions): Promise<Dataset> {
  const single = IMAGES_NAME.test(basename(path));
  const directory = single ? dirname(path) : path;
  const fileNames = await readdir(directory);
  const found = single ? [basename(path)] : idxImageNames(fileNames);
  const training = found.filter((name) => IMAGES_NAME.exec(name)?.[2] === "train");
  const validating = found.filter((name) => !training.includes(name));
  if (single && training.length === 0) training.push(...validating.splice(0));
  if (training.length !== 1 || validating.length > 1) {
    throw new DataError(
      directory,
      `expected one pair of IDX training files and at most one for validation, got ${found.join(", ")}`,
      `Name one images file instead of the directory, or move the others away.\n${ACCEPTED_LAYOUTS}`,
    );
  }
  const trainPair = await openPair(directory, training[0], fileNames);
  const validationPair =
    validating.length === 1 ? await openPair(directory, validating[0], fileNames) : undefined;
  const classes = await readClasses(directory, fileNames, trainPair, validationPair);
  const all = pairSource(trainPair);
  const fraction = options.validationFraction ?? DEFAULT_VALIDATION_FRACTION;
  const parts = validationPair
    ? { train: all, validation: pairSource(validationPair) }
    : splitStratified(all, classes, fraction, options.seed);

  const { height, width } = trainPair.images;
  const facts = { name: basename(directory), classes, ...parts, notes: [] };
  const hash = createHash("sha256");
  hash.update(JSON.stringify(["idx", classes, validationPair ? null : [fraction, options.seed]]));
  for (const pair of [trainPair, validationPair]) {
    if (!pair) continue;
    hash.update(`${pair.images.count} ${pair.images.height} ${pair.images.width} `);
    hash.update(pair.labels).update(pair.images.pixels);
  }
  const layout = `IDX, ${width}x${height} grey${validationPair ? "" : ", validation data split off by seed"}`;
  return {
    ...facts,
    fingerprint: hash.digest("hex"),
    describe: () => describeDataset(facts, layout),
  };
}

async function openPair(
  directory: string,
  imagesName: string,
  fileNames: readonly string[],
): Promise<Pair> {
  const wanted = imagesName.replace(/-images([-.])idx3/, "-labels$1idx1").replace(/\.gz$/, "");
  const labelsName = fileNames.find((name) => name === wanted || name === `${wanted}.gz`);
  if (!labelsName) {
    throw new DataError(
      join(directory, imagesName),
      `expected its labels beside it as ${wanted} or ${wanted}.gz, found neither`,
      "Copy the labels file there.",
    );
  }
  const images = await readIdxImages(join(directory, imagesName));
  const labels = await readIdxLabels(join(directory, labelsName));
  if (images.count !== labels.length || images.count === 0) {
    throw new DataError(
      join(directory, imagesName),
      `expected as many images as labels and at least one, got ${images.count} and ${labels.length}`,
      "Take both files from the same source.",
    );
  }
  return { images, labels, name: imagesName };
}

async function readClasses(
  directory: string,
  fileNames: readonly string[],
  train: Pair,
  validation: Pair | undefined,
): Promise<string[]> {
  const path = join(directory, "classes.txt");
  const inTraining = new Set(train.labels);
  const strange = [...new Set(validation?.labels)].filter((label) => !inTraining.has(label)).sort();
  const highest = train.labels.reduce((a, b) => Math.max(a, b), 0);
  const names = fileNames.includes("classes.txt")
    ? (await readFile(path, "utf8")).split(/\r?\n/).filter((line) => line !== "")
    : Array.from({ length: highest + 1 }, (_, label) => String(label));
  if (names.length <= highest) {
    throw new DataError(
      path,
      `expected a line for each of the ${highest + 1} labels, got ${names.length}`,
      "Add the missing names, or delete the file: then labels are shown as numbers.",
    );
  }
  if (strange.length > 0) {
    throw new DataError(
      directory,
      `validation data has labels that training data lacks: ${strange.join(", ")}`,
      "Take both pairs of files from the same source.",
    );
  }
  if (names.length < 2) {
    throw new DataError(directory, "expected at least two classes, got one", "Use other files.");
  }
  return names;
}

function pairSource({ images, labels, name }: Pair): SampleSource {
  const { width, height } = images;
  const area = width * height;
  return {
    count: images.count,
    label: (i) => labels[i],
    name: (i) => `${name}#${i}`,
    read: async (i) => {
      const pixels = images.pixels.subarray(i * area, (i + 1) * area);
      return { bytes: encodePng(pixels, width, height, 1), grey: { width, height, pixels } };
    },
  };
}
