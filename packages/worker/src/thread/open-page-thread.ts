/** Starts the page's compute thread. */

import type { ComputeThread } from "../client/compute-port.ts";
import { wrapCompute } from "./remote-compute.ts";

/** A new Web Worker; its device is lost with it. */
export function openPageThread(): ComputeThread {
  const worker = new Worker(new URL("./page-thread.ts", import.meta.url), {
    type: "module",
    name: "swarmvit compute",
  });
  const died = new Promise<Error>((resolve) => {
    worker.addEventListener("error", (event) => {
      resolve(new Error(event.message || "the compute thread could not be loaded"));
    });
  });
  return {
    port: wrapCompute(worker),
    died,
    async terminate() {
      worker.terminate();
    },
  };
}
