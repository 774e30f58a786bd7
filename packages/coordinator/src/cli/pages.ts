/** The built pages that the coordinator serves. */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Pages {
  readonly directory: string;
  /** Build id: a tab with another one reloads. */
  readonly build: string;
}

const DIRECTORY = fileURLToPath(new URL("../../../../dist/pages", import.meta.url));

/** Finds them. Errors with what to run when they have not been built. */
export async function findPages(directory = DIRECTORY): Promise<Pages> {
  try {
    const { build } = JSON.parse(await readFile(join(directory, "build.json"), "utf8"));
    return { directory, build: String(build) };
  } catch {
    throw new Error(`the pages are not built (no build.json in ${directory}): run "npm run build"`);
  }
}
