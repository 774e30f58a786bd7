/**
 * `metrics.jsonl`: one record a line, appended. A line torn by a crash is cut off when the file is
 * opened, and steps that will be computed again are taken out.
 */

import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from "node:fs";
import type { MetricRecord } from "@swarmvit/shared/run";
import { writeFileDurably } from "./durable-file.ts";

export interface MetricsLog {
  /** Throws what the file system says; the record is kept then, and written before the next one. */
  append(record: MetricRecord): void;
  /** Makes what was appended last through a power cut. */
  sync(): void;
  close(): void;
}

/** Opens the log behind its last whole line; `warn` hears of a torn one. */
export function openMetricsLog(path: string, warn: (line: string) => void): MetricsLog {
  const file = openSync(path, existsSync(path) ? "r+" : "w+");
  const content = readFileSync(path);
  let size = content.lastIndexOf(10) + 1;
  if (size < content.length) {
    warn(`${path}: the last line was cut off by a crash; it is left out`);
    ftruncateSync(file, size);
  }
  const unwritten: MetricRecord[] = [];
  return {
    append(record) {
      unwritten.push(record);
      for (; unwritten.length > 0; unwritten.shift()) {
        const line = Buffer.from(`${JSON.stringify(unwritten[0])}\n`);
        // At a position of our own: after a failed write the next one overwrites the torn line.
        for (let done = 0; done < line.length; )
          done += writeSync(file, line, done, line.length - done, size + done);
        size += line.length;
      }
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

/** All records of a log, oldest first; none where there is no file. Lines that are no records are left out. */
export function readMetricsLog(path: string): MetricRecord[] {
  if (!existsSync(path)) return [];
  const records: MetricRecord[] = [];
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const record = tryParse(line);
    if (record) records.push(record);
  }
  return records;
}

/** Keeps the records for which `keep` is true and returns them: what is computed again is not listed twice. */
export function cutMetricsLog(
  path: string,
  keep: (record: MetricRecord) => boolean,
): MetricRecord[] {
  const records = readMetricsLog(path);
  const kept = records.filter(keep);
  if (kept.length < records.length)
    writeFileDurably(path, [kept.map((record) => `${JSON.stringify(record)}\n`).join("")]);
  return kept;
}

function tryParse(line: string): MetricRecord | undefined {
  try {
    const record = JSON.parse(line);
    return typeof record === "object" && record !== null ? record : undefined;
  } catch {
    return undefined;
  }
}
