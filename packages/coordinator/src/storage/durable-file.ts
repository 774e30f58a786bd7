/** Files that are there whole or not at all, whatever happens in the middle of writing. */

import { createHash } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";

export interface WrittenFile {
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/**
 * Writes `parts` one after the other: temporary file, fsync, rename, fsync of the directory.
 * Synchronous: the thread that does it has nothing else to do. Throws what the file system says.
 */
export function writeFileDurably(
  path: string,
  parts: readonly (Uint8Array | string)[],
): WrittenFile {
  const directory = dirname(path);
  mkdirSync(directory, { recursive: true });
  const temporary = `${path}${TEMPORARY}`;
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    const file = openSync(temporary, "w");
    try {
      for (const part of parts) {
        const buffer = typeof part === "string" ? Buffer.from(part) : part;
        hash.update(buffer);
        for (let done = 0; done < buffer.byteLength; ) done += writeSync(file, buffer, done);
        bytes += buffer.byteLength;
      }
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  syncDirectory(directory);
  return { bytes, sha256: hash.digest("hex") };
}

/** Deletes what a killed process left half-written in a directory. */
export function removeTemporaryFiles(directory: string): void {
  for (const name of readdirSync(directory))
    if (basename(name).endsWith(TEMPORARY)) rmSync(join(directory, name), { force: true });
}

const TEMPORARY = ".part";

/** Makes the renames in a directory last through a power cut. */
function syncDirectory(directory: string): void {
  if (process.platform === "win32") return; // Windows cannot open a directory to sync it.
  const handle = openSync(directory, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
