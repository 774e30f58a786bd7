/** One coordinator a run: a lock file with the process that holds it, taken over when that is gone. */

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname, uptime } from "node:os";
import { join } from "node:path";
import type { Disk } from "./disk.ts";
import { readText } from "./durable-file.ts";

/** Another coordinator has this run open. */
export class RunLockedError extends Error {
  override readonly name = "RunLockedError";
}

export interface RunLock {
  release(): void;
}

interface Holder {
  readonly pid: number;
  /** Changes when the machine starts anew, so that an old process id means nothing. */
  readonly boot: string;
  /** Start time of the process, where the system tells: process ids are used again. */
  readonly started?: string;
  readonly nonce: string;
}

const LOCK = "lock";

/** Takes the run's lock or throws a `RunLockedError` that names the holder. */
export function lockRun(disk: Disk, directory: string): RunLock {
  const path = join(directory, LOCK);
  const holder: Holder = {
    pid: process.pid,
    boot: bootId(),
    started: startOf(process.pid),
    nonce: randomBytes(8).toString("hex"),
  };
  const own = `${path}.${holder.nonce}`;
  const file = disk.create(own);
  file.write(Buffer.from(JSON.stringify(holder)), 0);
  file.close();
  try {
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        disk.link(own, path); // fails where the file exists, and is never seen half-written
        return { release: () => release(disk, path, holder.nonce) };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const other = readHolder(disk, path);
      if (other && isAlive(other))
        throw new RunLockedError(
          `${directory} is in use by another coordinator (process ${other.pid}): stop it first, or choose another --name`,
        );
      clearStale(disk, path, holder.nonce, other?.nonce);
    }
    throw new RunLockedError(`${directory}: the lock changes hands all the time; try again`);
  } finally {
    disk.remove(own);
  }
}

/** Moves a dead holder's lock away; puts it back where another process was faster. */
function clearStale(disk: Disk, path: string, nonce: string, stale: string | undefined): void {
  const aside = `${path}.stale-${nonce}`;
  try {
    disk.rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  try {
    if (readHolder(disk, aside)?.nonce !== stale) disk.link(aside, path);
  } finally {
    disk.remove(aside);
  }
}

function release(disk: Disk, path: string, nonce: string): void {
  if (readHolder(disk, path)?.nonce === nonce) disk.remove(path);
}

function readHolder(disk: Disk, path: string): Holder | undefined {
  try {
    const holder: Holder = JSON.parse(readText(disk, path) ?? "null");
    return typeof holder?.pid === "number" ? holder : undefined;
  } catch {
    return undefined; // gone, or no lock file of ours: nobody holds it
  }
}

function isAlive({ pid, boot, started }: Holder): boolean {
  if (boot !== bootId()) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: the process exists, and is another user's.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  const start = startOf(pid);
  return !started || !start || started === start;
}

function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    // No such file outside Linux: the minute of the start does as well.
    return `${hostname()}-${Math.round((Date.now() / 1000 - uptime()) / 60)}`;
  }
}

function startOf(pid: number): string | undefined {
  try {
    // The command in parentheses may hold spaces; the start time is the 20th field after it.
    return readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ")[19];
  } catch {
    return undefined;
  }
}
