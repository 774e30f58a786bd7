/** A dataset of image files in class folders, with or without a folder of validation data. */

import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join, relative, sep } from "node:path";
import { ACCEPTED_LAYOUTS, DataError } from "./data-error.ts";
import {
  type Dataset,
  DEFAULT_VALIDATION_FRACTION,
  describeDataset,
  type OpenOptions,
  type SampleSource,
} from "./dataset.ts";
import { splitStratified } from "./split.ts";

const IMAGE_NAME = /\.(jpe?g|png|webp|gif|tiff?|avif|bmp)$/i;
const VALIDATION_NAMES = ["val", "validation", "test"];
const NAMED_FILES = 3;
/** Files stat'ed at a time. */
const STAT_BATCH = 64;

interface Listing {
  /** Sorted by code units, so that every machine numbers them alike. */
  readonly classes: readonly string[];
  /** Image files of each class, sorted, relative to the folder that holds the classes. */
  readonly files: readonly (readonly string[])[];
  /** Images that lie outside class folders: they have no label. */
  readonly unlabelled: readonly string[];
  /** Files in class folders that are no images by name. */
  readonly others: readonly string[];
}

/**
 * Opens `DIR/train/CLASS/*` with `DIR/val|validation|test/CLASS/*`, or one folder of classes that is
 * split by seed. Classes are sorted by name; images may lie in folders below their class. Throws a
 * `DataError` that names the folder where something is missing.
 */
export async function openImageFolder(root: string, options: OpenOptions): Promise<Dataset> {
  const folders = await listFolders(root);
  const validationName = VALIDATION_NAMES.find((name) => folders.includes(name));
  const hasTrain = folders.includes("train");
  if (validationName && !hasTrain) {
    throw new DataError(
      root,
      `expected train/ beside ${validationName}/, found none`,
      `Add the training images, or name the folder that holds the classes.\n${ACCEPTED_LAYOUTS}`,
    );
  }
  const trainRoot = hasTrain ? join(root, "train") : root;
  const listing = await listClasses(trainRoot);
  requireClasses(trainRoot, listing);
  const all = folderSource(root, trainRoot, listing, listing.classes);
  const notes = notesOf(root, trainRoot, listing);
  const sizes = await sizesOf(trainRoot, listing);

  const fraction = options.validationFraction ?? DEFAULT_VALIDATION_FRACTION;
  let parts = { train: all, validation: all };
  let layout = "image folder with training and validation images";
  let splitKey: unknown = null;
  if (validationName) {
    const validationRoot = join(root, validationName);
    const validation = await listClasses(validationRoot);
    requireKnownClasses(validationRoot, validation, listing.classes);
    parts = {
      train: all,
      validation: folderSource(root, validationRoot, validation, listing.classes),
    };
    notes.push(...notesOf(root, validationRoot, validation));
    splitKey = await sizesOf(validationRoot, validation);
  } else {
    parts = splitStratified(all, listing.classes, fraction, options.seed);
    layout = `image folder, ${Math.round(fraction * 100)} % of each class split off by seed for validation`;
    splitKey = [fraction, options.seed];
    if (parts.validation.count === 0) {
      throw new DataError(
        trainRoot,
        "expected a class of at least two images to split off validation data, found none",
        `Add images.\n${ACCEPTED_LAYOUTS}`,
      );
    }
  }
  const facts = { name: basename(root), classes: listing.classes, ...parts, notes };
  const fingerprint = createHash("sha256")
    .update(JSON.stringify(["image-folder", listing.classes, sizes, splitKey]))
    .digest("hex");
  return { ...facts, fingerprint, describe: () => describeDataset(facts, layout) };
}

/** Names of the visible folders in a directory, links to folders included, sorted. */
async function listFolders(directory: string): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.name.startsWith(".")) continue;
    if (
      entry.isDirectory() ||
      (entry.isSymbolicLink() && (await isFolder(join(directory, entry.name))))
    )
      names.push(entry.name);
  }
  return names.sort();
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function listClasses(directory: string): Promise<Listing> {
  const classes = await listFolders(directory);
  const files: string[][] = [];
  const others: string[] = [];
  for (const name of classes) {
    const images: string[] = [];
    for (const entry of await readdir(join(directory, name), {
      withFileTypes: true,
      recursive: true,
    })) {
      if (entry.isDirectory() || entry.name.startsWith(".")) continue;
      const path = relative(directory, join(entry.parentPath, entry.name)).split(sep).join("/");
      (IMAGE_NAME.test(entry.name) ? images : others).push(path);
    }
    files.push(images.sort());
  }
  const loose = await readdir(directory, { withFileTypes: true });
  const unlabelled = loose
    .filter((entry) => !entry.isDirectory() && IMAGE_NAME.test(entry.name))
    .map((entry) => entry.name)
    .sort();
  return { classes, files, unlabelled, others };
}

function requireClasses(directory: string, { classes, files, unlabelled }: Listing): void {
  const empty = classes.filter((_, c) => files[c].length === 0);
  if (classes.length === 0 || empty.length === classes.length) {
    const found =
      unlabelled.length > 0
        ? `${unlabelled.length} images without a class folder (${firstOf(unlabelled)})`
        : classes.length > 0
          ? `only folders without images (${firstOf(classes)})`
          : "nothing of the kind";
    throw new DataError(
      directory,
      `expected class folders with images, found ${found}`,
      `Put each image into a folder named after its class.\n${ACCEPTED_LAYOUTS}`,
    );
  }
  if (empty.length > 0) {
    throw new DataError(
      directory,
      `expected images in each class folder, found none in ${empty.join(", ")}`,
      "Add images to these folders, or delete them.",
    );
  }
  if (classes.length < 2) {
    throw new DataError(
      directory,
      `expected at least two class folders, found only ${classes[0]}`,
      `Add another class, or name the folder above.\n${ACCEPTED_LAYOUTS}`,
    );
  }
}

function requireKnownClasses(directory: string, found: Listing, known: readonly string[]): void {
  const strange = found.classes.filter((name) => !known.includes(name));
  if (strange.length > 0) {
    throw new DataError(
      directory,
      `expected the classes of the training data, found others: ${strange.join(", ")}`,
      `Rename or delete these folders, or add training images for them. Training has ${firstOf(known, 10)}.`,
    );
  }
  if (found.files.every((files) => files.length === 0)) {
    throw new DataError(
      directory,
      "expected class folders with images, found none",
      "Add validation images, or delete the folder: then a part of the training data is split off.",
    );
  }
}

function folderSource(
  root: string,
  directory: string,
  { classes, files }: Listing,
  order: readonly string[],
): SampleSource {
  const paths = files.flat();
  const labels = new Uint32Array(paths.length);
  let at = 0;
  for (const [c, name] of classes.entries()) {
    labels.fill(order.indexOf(name), at, at + files[c].length);
    at += files[c].length;
  }
  const prefix = directory === root ? "" : `${basename(directory)}/`;
  return {
    count: paths.length,
    label: (i) => labels[i],
    name: (i) => prefix + paths[i],
    read: async (i) => ({ bytes: await readFile(join(directory, paths[i])) }),
  };
}

/** [path, bytes] of every image: what tells a changed dataset without reading it. */
async function sizesOf(directory: string, { files }: Listing): Promise<[string, number][]> {
  const paths = files.flat();
  const sizes: [string, number][] = [];
  for (let i = 0; i < paths.length; i += STAT_BATCH) {
    const batch = paths.slice(i, i + STAT_BATCH).map(async (path): Promise<[string, number]> => {
      // A dangling link or a file just deleted is reported when it is read.
      const bytes = await stat(join(directory, path)).then(
        (found) => found.size,
        () => -1,
      );
      return [path, bytes];
    });
    sizes.push(...(await Promise.all(batch)));
  }
  return sizes;
}

function notesOf(root: string, directory: string, { unlabelled, others }: Listing): string[] {
  const where = relative(root, directory) || basename(root);
  const notes: string[] = [];
  if (unlabelled.length > 0)
    notes.push(
      `left out: ${unlabelled.length} images in ${where} outside class folders (${firstOf(unlabelled)})`,
    );
  if (others.length > 0)
    notes.push(
      `left out: ${others.length} files in ${where} that are no images (${firstOf(others)})`,
    );
  return notes;
}

function firstOf(names: readonly string[], limit = NAMED_FILES): string {
  return names.slice(0, limit).join(", ") + (names.length > limit ? ", …" : "");
}
