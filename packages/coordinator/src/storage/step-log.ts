/**
 * The write-ahead log of a run: `wal/step-<n>.log` holds the records of steps n+1, n+2, … (counts
 * of commits) up to the next file. A file is appended to by one life of the coordinator only, so
 * what a crash tore stays behind its last whole record and is left out.
 *
 * A record: "SWL1" · step u32 · bytes of the body u32 · CRC-32 of these and the body u32 · body.
 */

import { join } from "node:path";
import { crc32 } from "node:zlib";
import { crashPoint } from "./crash-point.ts";
import type { Disk, DiskFile } from "./disk.ts";

export interface StepLog {
  /**
   * Appends one record. The bytes are handed to the file system at once; resolves when they are
   * sure to last. Rejects with what the file system says: append the same step again then.
   */
  append(step: number, body: readonly Uint8Array[]): Promise<void>;
  /** The next record begins a new file: what is before a checkpoint can go as a whole. */
  rotate(): void;
  /** Deletes files whose records are all of steps up to `step`. */
  prune(step: number): void;
  /** Deletes all records of steps after `step`, for good. */
  cut(step: number): void;
  close(): void;
}

/** Why reading stopped: `torn` is how a crash ends a log, `damaged` and `gap` are losses. */
export interface LogEnd {
  readonly step: number;
  readonly why: "end" | "torn" | "damaged" | "gap";
  readonly detail?: string;
}

const MAGIC = 0x314c5753; // "SWL1" read as little-endian
const HEAD_BYTES = 16;
const SEGMENT_NAME = /^step-(\d+)\.log$/;

/** Opens the log for appending; reads nothing. */
export function openStepLog(disk: Disk, directory: string): StepLog {
  let file: DiskFile | undefined;
  let size = 0;

  const begin = (step: number): DiskFile => {
    disk.makeDirectory(directory);
    size = 0;
    file = disk.create(join(directory, nameOf(step - 1)));
    crashPoint("log-begun");
    return file;
  };
  const end = () => {
    file?.close();
    file = undefined;
  };
  /** The file may hold anything after its last whole record: go on in another one. */
  const giveUp = () => {
    try {
      file?.truncate(size);
    } catch {
      // Then it stays: a reader takes the same step from the file that follows.
    }
    end();
  };

  return {
    async append(step, body) {
      try {
        const isNew = file === undefined;
        const to = file ?? begin(step);
        const head = headOf(step, body);
        let at = size;
        for (const part of [head, ...body]) {
          to.write(part, at);
          at += part.byteLength;
          if (part === head) crashPoint("log-torn");
        }
        crashPoint("log-written");
        await to.syncInBackground();
        if (isNew) disk.syncDirectory(directory);
        size = at;
      } catch (error) {
        giveUp();
        throw error;
      }
    },
    rotate: end,
    prune(step) {
      const segments = listSegments(disk, directory);
      segments.forEach(({ name }, i) => {
        const next = segments[i + 1];
        if (next && next.base <= step) disk.remove(join(directory, name));
      });
    },
    cut(step) {
      end();
      cutLog(disk, directory, step);
    },
    close: end,
  };
}

/**
 * Hands the bodies of the steps after `after` to `take`, in order, one at a time; goes on as long
 * as the next step follows and `take` returns nothing. What `take` returns is why it could not use
 * a record.
 */
export function readStepLog(
  disk: Disk,
  directory: string,
  after: number,
  take: (step: number, body: Uint8Array) => string | undefined,
): LogEnd {
  let step = after;
  let end: LogEnd = { step, why: "end" };
  for (const { name } of listSegments(disk, directory)) {
    const path = join(directory, name);
    const size = disk.size(path) ?? 0;
    for (let at = 0; at < size; ) {
      const head = readHead(disk, path, at);
      if (!head || at + HEAD_BYTES + head.bytes > size) {
        end = { step, why: "torn", detail: `${name} ends in the middle of a record` };
        break;
      }
      const next = at + HEAD_BYTES + head.bytes;
      if (head.step > step) {
        if (head.step > step + 1) {
          const detail = `${name} goes on with step ${head.step}`;
          return { step, why: end.why === "end" ? "gap" : "damaged", detail };
        }
        const body = disk.read(path, at + HEAD_BYTES, head.bytes);
        if (body?.byteLength !== head.bytes || checksum(head.prefix, [body]) !== head.crc) {
          const isLast = next >= size;
          const detail = `the checksum of step ${head.step} in ${name} does not match`;
          end = { step, why: isLast ? "torn" : "damaged", detail };
          break;
        }
        const problem = take(head.step, body);
        if (problem !== undefined) return { step, why: "damaged", detail: problem };
        step = head.step;
        end = { step, why: "end" };
      }
      at = next;
    }
  }
  return end;
}

/** True where there is a log. */
export function hasStepLog(disk: Disk, directory: string): boolean {
  return listSegments(disk, directory).length > 0;
}

function cutLog(disk: Disk, directory: string, step: number): void {
  // Newest first, each for good before the next: what a power cut leaves is a shorter log.
  for (const { name, base } of listSegments(disk, directory).toReversed()) {
    const path = join(directory, name);
    if (base >= step) {
      disk.remove(path);
      disk.syncDirectory(directory);
      continue;
    }
    const size = disk.size(path) ?? 0;
    let kept = 0;
    while (kept < size) {
      const head = readHead(disk, path, kept);
      if (!head || head.step > step || kept + HEAD_BYTES + head.bytes > size) break;
      kept += HEAD_BYTES + head.bytes;
    }
    if (kept === size) continue;
    const file = disk.open(path);
    try {
      file.truncate(kept);
      file.sync();
    } finally {
      file.close();
    }
  }
}

interface Head {
  readonly step: number;
  readonly bytes: number;
  readonly crc: number;
  /** What the checksum covers of the head. */
  readonly prefix: Uint8Array;
}

function headOf(step: number, body: readonly Uint8Array[]): Uint8Array {
  const head = new Uint8Array(HEAD_BYTES);
  const view = new DataView(head.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, step, true);
  view.setUint32(
    8,
    body.reduce((sum, part) => sum + part.byteLength, 0),
    true,
  );
  view.setUint32(12, checksum(head.subarray(0, 12), body), true);
  return head;
}

function readHead(disk: Disk, path: string, at: number): Head | undefined {
  const bytes = disk.read(path, at, HEAD_BYTES);
  if (bytes?.byteLength !== HEAD_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (view.getUint32(0, true) !== MAGIC) return undefined;
  return {
    step: view.getUint32(4, true),
    bytes: view.getUint32(8, true),
    crc: view.getUint32(12, true),
    prefix: bytes.subarray(0, 12),
  };
}

function checksum(prefix: Uint8Array, body: readonly Uint8Array[]): number {
  return body.reduce((crc, part) => crc32(part, crc), crc32(prefix));
}

/** Oldest first. */
function listSegments(disk: Disk, directory: string): { name: string; base: number }[] {
  return disk
    .list(directory)
    .flatMap((name) => {
      const base = name.match(SEGMENT_NAME)?.[1];
      return base === undefined ? [] : [{ name, base: Number(base) }];
    })
    .sort((a, b) => a.base - b.base);
}

function nameOf(base: number): string {
  return `step-${base}.log`;
}
