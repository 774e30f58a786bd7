/**
 * `metrics.jsonl`: one record a line, appended, and read back in pages. A cursor is a count of
 * records. A line torn by a crash is cut off when the file is opened.
 */

import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  writeSync,
} from "node:fs";
import type { HistoryPage, MetricRecord } from "@swarmvit/shared/run";
import { writeFileDurably } from "./durable-file.ts";

export interface MetricsLog {
  /** Records so far: the cursor of what comes next. */
  readonly count: number;
  append(record: MetricRecord): void;
  /** At most `limit` records after the first `since`; a cursor from another life starts at 0. */
  read(since: number, limit?: number): HistoryPage;
  /** Makes what was appended last through a power cut. */
  sync(): void;
  close(): void;
}

/** Lines between two known places in the file: memory stays small, a page costs one short scan. */
const STRIDE = 64;
const PAGE_RECORDS = 2000;

/** Opens the log for appending. Lines that are no records are cut (the last) or kept out (`warn`). */
export function openMetricsLog(path: string, warn: (line: string) => void): MetricsLog {
  const file = openSync(path, existsSync(path) ? "r+" : "w+");
  const places: number[] = []; // byte offset of record i·STRIDE
  let count = 0;
  let size = 0;
  const place = (bytes: number) => {
    if (count % STRIDE === 0) places.push(size);
    count++;
    size += bytes;
  };
  const content = readFileSync(path);
  for (let end = content.indexOf(10); end >= 0; end = content.indexOf(10, size))
    place(end + 1 - size);
  if (size < content.length) {
    warn(`${path}: the last line was cut off by a crash; it is left out`);
    ftruncateSync(file, size);
  }

  return {
    get count() {
      return count;
    },

    append(record) {
      const line = Buffer.from(`${JSON.stringify(record)}\n`);
      for (let done = 0; done < line.length; )
        done += writeSync(file, line, done, line.length - done, size + done);
      place(line.length);
    },

    read(since, limit = PAGE_RECORDS) {
      const first = since >= 0 && since <= count ? since : 0;
      const end = Math.min(count, first + limit);
      if (first === end) return { cursor: end, records: [] };
      const block = Math.floor(first / STRIDE);
      const stop = places[Math.ceil(end / STRIDE)] ?? size;
      const bytes = Buffer.alloc(stop - places[block]);
      readSync(file, bytes, 0, bytes.length, places[block]);
      const lines = bytes.toString("utf8").split("\n");
      const wanted = lines.slice(first - block * STRIDE, end - block * STRIDE);
      return { cursor: end, records: wanted.map(recordOf) };
    },

    sync() {
      fsyncSync(file);
    },

    close() {
      fsyncSync(file);
      closeSync(file);
    },
  };
}

/** Keeps the records for which `keep` is true: steps that are computed again are not listed twice. */
export function cutMetricsLog(path: string, keep: (record: MetricRecord) => boolean): void {
  if (!existsSync(path)) return;
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  const kept = lines.filter((line) => {
    const record = tryParse(line);
    return record !== undefined && keep(record);
  });
  if (kept.length < lines.length)
    writeFileDurably(path, [kept.map((line) => `${line}\n`).join("")]);
}

/** A damaged line in the middle keeps its place, so that cursors still count lines. */
function recordOf(line: string): MetricRecord {
  return (
    tryParse(line) ?? {
      kind: "event",
      time: 0,
      step: 0,
      what: "damaged",
      detail: line.slice(0, 80),
    }
  );
}

function tryParse(line: string): MetricRecord | undefined {
  try {
    const record = JSON.parse(line);
    return typeof record === "object" && record !== null ? record : undefined;
  } catch {
    return undefined;
  }
}
