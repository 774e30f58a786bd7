/**
 * `metrics.jsonl`: one record a line, appended. What a crash tore is left out when the file is
 * opened; which steps it lists is brought in line with the run (`repairMetrics`).
 */

import { dirname } from "node:path";
import type { MetricRecord, StepRecord } from "@swarmvit/shared/run";
import type { Disk, DiskFile } from "./disk.ts";
import { readText, writeFileDurably } from "./durable-file.ts";

export interface MetricsLog {
  /** Throws what the file system says; the record is kept then, and written before the next one. */
  append(record: MetricRecord): void;
  /** Makes what was appended last through a power cut, without holding up this thread. */
  syncInBackground(): Promise<void>;
  /** Keeps the records for which `keep` is true: a roll-back takes steps back. */
  cut(keep: (record: MetricRecord) => boolean): void;
  close(): void;
}

/** Opens the log, cut behind its last whole line. */
export function openMetricsLog(disk: Disk, path: string): MetricsLog {
  const unwritten: MetricRecord[] = [];
  let file: DiskFile;
  let size: number;
  const open = () => {
    const content = disk.read(path);
    file = content ? disk.open(path) : disk.create(path);
    if (!content) disk.syncDirectory(dirname(path)); // or a power cut takes the file, synced or not
    size = (content?.lastIndexOf(10) ?? -1) + 1;
    if (content && size < content.length) file.truncate(size);
  };
  open();
  return {
    append(record) {
      unwritten.push(record);
      for (; unwritten.length > 0; unwritten.shift()) {
        const line = Buffer.from(lineOf(unwritten[0]));
        // At a position of our own: after a failed write the next one overwrites the torn line.
        file.write(line, size);
        size += line.length;
      }
    },
    syncInBackground: () => file.syncInBackground(),
    cut(keep) {
      const records = readMetricsLog(disk, path);
      file.close();
      try {
        writeRecords(disk, path, records.filter(keep));
      } finally {
        open();
      }
    },
    close() {
      file.sync();
      file.close();
    },
  };
}

/** All records of a log, oldest first; none where there is no file. Lines that are no records are left out. */
export function readMetricsLog(disk: Disk, path: string): MetricRecord[] {
  const records: MetricRecord[] = [];
  for (const line of (readText(disk, path) ?? "").split("\n")) {
    const record = tryParse(line);
    if (record) records.push(record);
  }
  return records;
}

/**
 * Brings the log in line with a run of `step` commits: each step once, none later; those that are
 * missing are taken from `logged`, what the write-ahead log says of steps. Evaluations stay up to
 * `step`, other records all. Returns what the log now holds.
 */
export function repairMetrics(
  disk: Disk,
  path: string,
  step: number,
  logged: readonly StepRecord[],
): MetricRecord[] {
  const text = readText(disk, path) ?? "";
  const latest = new Map<number, StepRecord>(); // of steps listed twice the last one counts
  const found = readMetricsLog(disk, path);
  for (const record of found) if (record.kind === "step") latest.set(record.step, record);
  const records = found.filter(
    (record) =>
      isWithin(record, step) && (record.kind !== "step" || latest.get(record.step) === record),
  );
  for (const record of logged) {
    if (record.step > step || latest.has(record.step)) continue;
    const next = records.findIndex((other) => other.kind === "step" && other.step > record.step);
    records.splice(next < 0 ? records.length : next, 0, record);
  }
  if (records.map(lineOf).join("") !== text) writeRecords(disk, path, records);
  return records;
}

/** False for what belongs to steps after `step`: they come again. Who came and went stays. */
export function isWithin(record: MetricRecord, step: number): boolean {
  return (record.kind !== "step" && record.kind !== "eval") || record.step <= step;
}

function writeRecords(disk: Disk, path: string, records: readonly MetricRecord[]): void {
  writeFileDurably(disk, path, [records.map(lineOf).join("")]);
}

function lineOf(record: MetricRecord): string {
  return `${JSON.stringify(record)}\n`;
}

function tryParse(line: string): MetricRecord | undefined {
  try {
    const record = JSON.parse(line);
    return typeof record === "object" && record !== null ? record : undefined;
  } catch {
    return undefined;
  }
}
