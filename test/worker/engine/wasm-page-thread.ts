/** A page's worker: computes the golden node with the threads it is told, as a volunteer would. */

import { fetchModule } from "@swarmvit/worker/engine/wasm/modules-web";
import { hashesOfNode } from "./wasm-golden.ts";

self.onmessage = async ({ data: threads }: MessageEvent<number>) => {
  const read = async (name: string) =>
    new Uint8Array(await (await fetch(`/golden/${name}`)).arrayBuffer());
  try {
    self.postMessage(await hashesOfNode(read, { threads, loadModule: fetchModule }));
  } catch (error) {
    self.postMessage([String(error)]);
  }
};
