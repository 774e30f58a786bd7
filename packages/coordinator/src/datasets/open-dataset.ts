/** Turns `--data` into a dataset: the built-in one, a directory, or an IDX file. */

import { readdir, stat } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ACCEPTED_LAYOUTS, DataError } from "./data-error.ts";
import type { Dataset, OpenOptions } from "./dataset.ts";
import { idxImageNames, openIdxDataset } from "./idx-dataset.ts";
import { openImageFolder } from "./image-folder.ts";

const FASHION_MNIST = fileURLToPath(new URL("../../data/fashion-mnist", import.meta.url));

/**
 * Opens what `--data` names: `fashion-mnist`, a directory (image folder or IDX files) or one IDX
 * images file. Throws a `DataError` that names the path and the accepted layouts, or a RangeError
 * for a validation fraction outside (0, 1).
 */
export async function openDataset(spec: string, options: OpenOptions): Promise<Dataset> {
  const { validationFraction: fraction } = options;
  if (fraction !== undefined && !(fraction > 0 && fraction < 1)) {
    throw new RangeError(`Expected a validation fraction between 0 and 1, got ${fraction}.`);
  }
  if (spec === "fashion-mnist") return openIdxDataset(FASHION_MNIST, options);
  const path = resolve(spec);
  const found = await stat(path).catch(() => undefined);
  if (!found) {
    throw new DataError(
      path,
      "expected data here, found no such file or directory",
      `Correct --data (got "${spec}").\n${ACCEPTED_LAYOUTS}`,
    );
  }
  if (!found.isDirectory()) {
    if (idxImageNames([basename(path)]).length > 0) return openIdxDataset(path, options);
    throw new DataError(
      path,
      "expected a directory or an IDX images file, found another file",
      `Unpack archives first.\n${ACCEPTED_LAYOUTS}`,
    );
  }
  const names = await readdir(path).catch((error: NodeJS.ErrnoException) => {
    throw new DataError(path, `it cannot be read (${error.code})`, "Check its permissions.");
  });
  if (names.length === 0) {
    throw new DataError(
      path,
      "expected images, found an empty directory",
      `Put images there, or correct --data.\n${ACCEPTED_LAYOUTS}`,
    );
  }
  return idxImageNames(names).length > 0
    ? openIdxDataset(path, options)
    : openImageFolder(path, options);
}
