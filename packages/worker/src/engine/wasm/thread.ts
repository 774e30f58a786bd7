/** A helping thread in a browser: takes the kernels and the shared memory, then serves. */

import { kernelImports } from "./threads.ts";

interface ServingKernels {
  serve(control: number, thread: number, seen: number): void;
}

self.onmessage = async ({ data }: MessageEvent) => {
  const { module, memory, control, thread } = data;
  const instance = await WebAssembly.instantiate(
    module as WebAssembly.Module,
    kernelImports(memory),
  );
  self.postMessage("ready");
  (instance.exports as unknown as ServingKernels).serve(control, thread, 0);
};
