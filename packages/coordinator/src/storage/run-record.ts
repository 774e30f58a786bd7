/** `run.json`: who a run is. Made once; only the fence changes, at each start. */

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Disk } from "./disk.ts";
import { readText, writeFileDurably } from "./durable-file.ts";

export interface RunRecord {
  readonly schema: 1;
  /** 16 hex digits. */
  readonly id: string;
  /** Key of the leases' tokens: 64 hex digits. */
  readonly secret: string;
  /** Counts starts, so that leases of an earlier life are void. */
  readonly fence: number;
  /** Unix milliseconds of the first start. */
  readonly startedAt: number;
}

/** Reads the run's record or makes one, with the fence raised and kept. */
export function openRunRecord(disk: Disk, directory: string, nowMs: number): RunRecord {
  const path = join(directory, "run.json");
  const text = readText(disk, path);
  const previous: RunRecord = text
    ? JSON.parse(text)
    : {
        schema: 1,
        id: randomBytes(8).toString("hex"),
        secret: randomBytes(32).toString("hex"),
        fence: 0,
        startedAt: nowMs,
      };
  if (previous.schema !== 1)
    throw new Error(
      `${path}: schema 1 was expected (got ${previous.schema}): this run was written by another version`,
    );
  const record = { ...previous, fence: previous.fence + 1 };
  writeFileDurably(disk, path, [`${JSON.stringify(record, null, 1)}\n`]);
  return record;
}
