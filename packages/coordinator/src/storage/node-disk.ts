/** The real file system behind `Disk`. */

import {
  closeSync,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import type { Disk, DiskFile } from "./disk.ts";

export const nodeDisk: Disk = {
  list: (directory) => orMissing(() => readdirSync(directory).sort()) ?? [],
  read: (path, from = 0, length = Number.POSITIVE_INFINITY) =>
    orMissing(() => readRange(path, from, length)),
  size: (path) => orMissing(() => statSync(path).size),
  create: (path) => fileOf(openSync(path, "w")),
  open: (path) => fileOf(openSync(path, "r+")),
  rename: renameSync,
  link: linkSync,
  remove: (path) => rmSync(path, { force: true }),
  makeDirectory(path) {
    const first = mkdirSync(path, { recursive: true }); // the topmost that had to be made
    if (first === undefined) return;
    for (let made = path; made.length >= first.length; made = dirname(made))
      nodeDisk.syncDirectory(dirname(made));
  },
  syncDirectory(path) {
    if (process.platform === "win32") return; // Windows cannot open a directory to sync it.
    const handle = openSync(path, "r");
    try {
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
  },
};

function fileOf(handle: number): DiskFile {
  return {
    write(bytes, position) {
      for (let done = 0; done < bytes.byteLength; )
        done += writeSync(handle, bytes, done, bytes.byteLength - done, position + done);
    },
    truncate: (size) => ftruncateSync(handle, size),
    sync: () => fsyncSync(handle),
    syncInBackground: () =>
      new Promise((resolve, reject) => {
        fdatasync(handle, (error) => (error ? reject(error) : resolve()));
      }),
    close: () => closeSync(handle),
  };
}

function readRange(path: string, from: number, length: number): Uint8Array {
  const handle = openSync(path, "r");
  try {
    const size = Math.max(0, Math.min(length, fstatSync(handle).size - from));
    const bytes = new Uint8Array(size);
    let done = 0;
    while (done < size) {
      const count = readSync(handle, bytes, done, size - done, from + done);
      if (count === 0) break;
      done += count;
    }
    return bytes.subarray(0, done);
  } finally {
    closeSync(handle);
  }
}

function orMissing<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
