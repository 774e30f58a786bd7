/** The compiled kernels in Node: read from disk, where `scripts/build-wasm.mjs` puts them. */

import { readFile } from "node:fs/promises";
import type { LoadModule } from "./machine.ts";

/** Reads and compiles a build; says how to make it where it is missing. */
export const loadModuleFromDisk: LoadModule = async (build) => {
  const url = new URL(`./build/${build}.wasm`, import.meta.url);
  const code = await readFile(url).catch((cause) => {
    throw new Error(`${build}.wasm is not there; run "node scripts/build-wasm.mjs"`, { cause });
  });
  return WebAssembly.compile(code);
};
