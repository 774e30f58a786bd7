/** The thread's side of `threadVectors`: one call after the other, in order. */

import { parentPort, workerData } from "node:worker_threads";
import { nodeDisk } from "../storage/node-disk.ts";
import type { Commitment, VectorSetup } from "./vector-port.ts";
import { openVectorWork } from "./vector-work.ts";
import { openCallQueue, type VectorCall, type VectorReply } from "./vectors.ts";

const port = parentPort;
if (!port) throw new Error("vector-thread.ts runs as a worker thread only");
const call = openCallQueue(openVectorWork(workerData as VectorSetup, nodeDisk));

port.on("message", async ({ id, method, args }: VectorCall) => {
  let reply: VectorReply;
  try {
    reply = { id, value: await call(method, args) };
  } catch (error) {
    reply = { id, error: error instanceof Error ? error.message : String(error) };
  }
  port.postMessage(reply, movedBuffers(reply.value));
});

/** Copies made for publishing and frames that are used up move to the main thread. */
function movedBuffers(value: unknown): ArrayBuffer[] {
  const { vectors = [], encoded, spent = [] } = (value as Partial<Commitment> | undefined) ?? {};
  const published = encoded ? [...vectors, encoded] : vectors;
  const all = [...published.map(({ bytes }) => bytes), ...spent];
  return all.map(({ buffer }) => buffer as ArrayBuffer);
}
