/** Reads `test/golden` from disk, for tests that run in Node. */

import { readFile } from "node:fs/promises";
import type { ReadGolden } from "./fixtures.ts";

export const readGolden: ReadGolden = async (name) =>
  new Uint8Array(await readFile(new URL(`../golden/${name}`, import.meta.url)));
