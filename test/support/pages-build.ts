/** The pages as people get them, built into a folder of their own. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

export interface BuiltPages {
  readonly directory: string;
  /** The build id that the pages hold. */
  readonly build: string;
  remove(): Promise<void>;
}

/** Builds with the project's own configuration; `remove` deletes the folder. */
export async function buildPages(): Promise<BuiltPages> {
  const directory = await mkdtemp(join(tmpdir(), "swarmvit-pages-"));
  const configFile = fileURLToPath(new URL("../../vite.config.ts", import.meta.url));
  await build({ configFile, logLevel: "error", build: { outDir: directory } });
  const { build: id } = JSON.parse(await readFile(join(directory, "build.json"), "utf8"));
  return { directory, build: id, remove: () => rm(directory, { recursive: true, force: true }) };
}
