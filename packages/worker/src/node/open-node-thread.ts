/** Starts Node's compute thread. */

import { MessageChannel, Worker } from "node:worker_threads";
import type { Endpoint } from "comlink";
import type { ComputeThread } from "../client/compute-port.ts";
import { wrapCompute } from "../thread/remote-compute.ts";

export interface NodeThreadOptions {
  /** Downloads take any certificate: their bytes are checked by hash. */
  readonly insecureTls?: boolean;
  /** Threads that one executor may use. */
  readonly threads?: number;
}

/** A new worker thread. */
export function openNodeThread(options: NodeThreadOptions = {}): ComputeThread {
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker(new URL("../thread/node-thread.mjs", import.meta.url), {
    workerData: { port: port2, threads: options.threads },
    transferList: [port2],
    env: options.insecureTls
      ? { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: "0", NODE_NO_WARNINGS: "1" }
      : process.env,
  });
  let ended = false;
  const died = new Promise<Error>((resolve) => {
    worker.once("error", resolve);
    worker.once("exit", (code) => {
      if (!ended) resolve(new Error(`the compute thread ended by itself (exit code ${code})`));
    });
  });
  return {
    port: wrapCompute(port1 as unknown as Endpoint),
    died,
    async terminate() {
      ended = true;
      await worker.terminate();
      port1.close();
    },
  };
}
