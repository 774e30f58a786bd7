/** Files that are there whole or not at all, whatever happens in the middle of writing. */

import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { crashPoint } from "./crash-point.ts";
import type { Disk } from "./disk.ts";

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
  disk: Disk,
  path: string,
  parts: readonly (Uint8Array | string)[],
): WrittenFile {
  const directory = dirname(path);
  disk.makeDirectory(directory);
  const temporary = `${path}${TEMPORARY}`;
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    const file = disk.create(temporary);
    try {
      for (const part of parts) {
        const buffer = typeof part === "string" ? Buffer.from(part) : part;
        hash.update(buffer);
        file.write(buffer, bytes);
        bytes += buffer.byteLength;
      }
      file.sync();
    } finally {
      file.close();
    }
    crashPoint("file-written");
    disk.rename(temporary, path);
  } catch (error) {
    disk.remove(temporary);
    throw error;
  }
  disk.syncDirectory(directory);
  return { bytes, sha256: hash.digest("hex") };
}

/** Makes what was written to a file, by whomever, last through a power cut. */
export function syncFile(disk: Disk, path: string): void {
  const file = disk.open(path);
  try {
    file.sync();
  } finally {
    file.close();
  }
}

/** Deletes what a killed process left half-written in a directory. */
export function removeTemporaryFiles(disk: Disk, directory: string): void {
  for (const name of disk.list(directory))
    if (name.endsWith(TEMPORARY)) disk.remove(join(directory, name));
}

/** The text of a file; undefined where there is none. */
export function readText(disk: Disk, path: string): string | undefined {
  const bytes = disk.read(path);
  return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8");
}

const TEMPORARY = ".part";
