/** Choices in one JSON file of the user's cache folder. */

import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { type ChoiceStore, createChoiceStore } from "./choice-store.ts";

/** The file, by the XDG rules: `$XDG_CACHE_HOME/swarmvit/choices.json`, else below `~/.cache`. */
export function choicesFile(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "swarmvit", "choices.json");
}

/** The choices in `file`; those of this thread alone where it cannot be written. A damaged file counts as empty. */
export function openNodeChoices(file = choicesFile()): ChoiceStore {
  const fallback = createChoiceStore();
  return {
    get: async (key) => (await fallback.get(key)) ?? (await readChoices(file))[key],
    async set(key, value) {
      await fallback.set(key, value);
      try {
        await mkdir(dirname(file), { recursive: true });
        const choices = { ...(await readChoices(file)), [key]: value };
        // Several volunteers may write at once: each replaces the file whole, and a lost choice is measured again.
        const part = `${file}.${process.pid}-${Math.random().toString(36).slice(2)}`;
        await writeFile(part, `${JSON.stringify(choices, undefined, 2)}\n`);
        await rename(part, file);
      } catch {
        // Remembered by this thread.
      }
    },
  };
}

async function readChoices(file: string): Promise<Record<string, string>> {
  try {
    const choices: unknown = JSON.parse(await readFile(file, "utf8"));
    const entries = Object.entries(choices ?? {}).filter(([, value]) => typeof value === "string");
    return Object.fromEntries(entries);
  } catch {
    return {};
  }
}
