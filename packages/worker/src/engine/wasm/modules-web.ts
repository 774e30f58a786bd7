/** The compiled kernels in a browser: fetched from beside the page's scripts. */

import type { KernelBuild, LoadModule } from "./machine.ts";

// Written out one by one: the bundler finds assets by this exact form.
const URLS: Readonly<Record<KernelBuild, URL>> = {
  kernels: new URL("./build/kernels.wasm", import.meta.url),
  "kernels-threads": new URL("./build/kernels-threads.wasm", import.meta.url),
  "kernels-relaxed": new URL("./build/kernels-relaxed.wasm", import.meta.url),
};

/** Fetches and compiles a build. */
export const fetchModule: LoadModule = async (build) => {
  const response = await fetch(URLS[build]);
  if (!response.ok)
    throw new Error(`${URLS[build]} answered ${response.status}; expected the wasm kernels`);
  return WebAssembly.compile(await response.arrayBuffer());
};
