/** Which directory a run lives in: a new name, or the run that is resumed. */

import { mkdir, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "@swarmvit/shared/config";

export interface RunDirectory {
  readonly name: string;
  readonly path: string;
  /** The text of its config.yaml; only when resumed. */
  readonly config?: string;
}

/** Takes a name for a new run: `name`, or the next free run-N. Errors when it is taken. */
export async function newRunDirectory(runsDir: string, name?: string): Promise<RunDirectory> {
  await mkdir(runsDir, { recursive: true });
  const chosen = name ?? nextFreeName(await readdir(runsDir));
  const path = join(runsDir, chosen);
  try {
    await mkdir(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    throw new ConfigError(
      "name",
      `the run "${chosen}" exists already in ${runsDir}: add --resume to go on with it, or choose another --name`,
    );
  }
  return { name: chosen, path };
}

/** Finds the run to resume: the one named, or the one written to last. */
export async function existingRunDirectory(runsDir: string, name?: string): Promise<RunDirectory> {
  const chosen = name ?? (await newestRun(runsDir));
  if (!chosen)
    throw new ConfigError("resume", `there is no run to resume in ${runsDir}: leave --resume out`);
  const path = join(runsDir, chosen);
  const config = await readFile(join(path, "config.yaml"), "utf8").catch(() => undefined);
  if (config === undefined)
    throw new ConfigError(
      "resume",
      `${path} is not a run (it has no config.yaml): leave --resume out, or name another run`,
    );
  return { name: chosen, path, config };
}

function nextFreeName(taken: readonly string[]): string {
  let n = 1;
  while (taken.includes(`run-${n}`)) n++;
  return `run-${n}`;
}

async function newestRun(runsDir: string): Promise<string | undefined> {
  const names = await readdir(runsDir).catch(() => []);
  let newest: { name: string; at: number } | undefined;
  for (const name of names) {
    const at = await stat(join(runsDir, name, "metrics.jsonl"))
      .catch(() => stat(join(runsDir, name, "config.yaml")))
      .then(({ mtimeMs }) => mtimeMs)
      .catch(() => undefined);
    if (at !== undefined && (!newest || at > newest.at)) newest = { name, at };
  }
  return newest?.name;
}
