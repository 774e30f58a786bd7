/** Choices in one JSON file of the user's cache folder. */

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type ChoiceStore, createChoiceStore } from "./choice-store.ts";

/** The file, by the XDG rules: `$XDG_CACHE_HOME/swarmvit/choices.json`, else below `~/.cache`. */
export function choicesFile(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "swarmvit", "choices.json");
}

/**
 * The choices in `file`; those of this thread alone where it cannot be written. A damaged file counts as
 * empty, and so does one of another `version` (of the engine's files and of Node, unless given).
 */
export function openNodeChoices(
  file = choicesFile(),
  version: string | Promise<string> = engineVersion(),
): ChoiceStore {
  const fallback = createChoiceStore();
  return {
    get: async (key) => (await fallback.get(key)) ?? (await readChoices(file, await version))[key],
    async set(key, value) {
      await fallback.set(key, value);
      try {
        await mkdir(dirname(file), { recursive: true });
        const choices = { ...(await readChoices(file, await version)), [key]: value };
        // Several volunteers may write at once: each replaces the file whole, and a lost choice is measured again.
        const part = `${file}.${process.pid}-${Math.random().toString(36).slice(2)}`;
        await writeFile(
          part,
          `${JSON.stringify({ version: await version, choices }, undefined, 2)}\n`,
        );
        await rename(part, file);
      } catch {
        // Remembered by this thread.
      }
    },
  };
}

async function readChoices(file: string, version: string): Promise<Record<string, string>> {
  try {
    const kept: unknown = JSON.parse(await readFile(file, "utf8"));
    const { version: written, choices } = kept as { version?: unknown; choices?: object };
    if (written !== version) return {};
    const entries = Object.entries(choices ?? {}).filter(([, value]) => typeof value === "string");
    return Object.fromEntries(entries);
  } catch {
    return {};
  }
}

/** Changes with any file of the engine: what was measured with other kernels says nothing. */
async function engineVersion(): Promise<string> {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  const names = (await readdir(folder, { recursive: true })).sort();
  const hash = createHash("sha256").update(process.version);
  for (const name of names) {
    const { size, mtimeMs } = await stat(join(folder, name));
    hash.update(`${name}\0${size}\0${mtimeMs}\0`);
  }
  return hash.digest("hex").slice(0, 16);
}
