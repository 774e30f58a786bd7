/** The compiled kernels in Node: read from disk, where `scripts/build-wasm.mjs` puts them. */

import { readFile } from "node:fs/promises";
import { setFlagsFromString } from "node:v8";
import type { LoadModule } from "./machine.ts";

/** Reads and compiles a build; says how to make it where it is missing. */
export const loadModuleFromDisk: LoadModule = async (build) => {
  const url = new URL(`./build/${build}.wasm`, import.meta.url);
  const code = await readFile(url).catch((cause) => {
    throw new Error(`${build}.wasm is not there; run "node scripts/build-wasm.mjs"`, { cause });
  });
  // V8 has relaxed SIMD from Node 22 on; before, it is there behind a flag
  if (build === "kernels-relaxed" && Number.parseInt(process.versions.node, 10) < 22)
    setFlagsFromString("--experimental-wasm-relaxed-simd");
  return WebAssembly.compile(code);
};
