/**
 * The work on long vectors as promises, in the order of the calls: in a thread, so that sockets and
 * heartbeats go on while it sums, or inline for tests and the simulator.
 */

import { Worker } from "node:worker_threads";
import type { Disk } from "../storage/disk.ts";
import { nodeDisk } from "../storage/node-disk.ts";
import type { VectorSetup, VectorWork } from "./vector-port.ts";
import { openVectorWork } from "./vector-work.ts";

/** Every method of `VectorWork` as a promise. */
export type Vectors = {
  readonly [M in keyof VectorWork]: (
    ...args: Parameters<VectorWork[M]>
  ) => Promise<Awaited<ReturnType<VectorWork[M]>>>;
} & { close(): Promise<void> };

export interface VectorCall {
  readonly id: number;
  readonly method: keyof VectorWork;
  readonly args: readonly unknown[];
}

export interface VectorReply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}

const METHODS = [
  "initialize",
  "restore",
  "replay",
  "publish",
  "dropLater",
  "verify",
  "add",
  "alias",
  "commit",
  "recycle",
  "forget",
  "checkpoint",
  "saveModel",
] as const satisfies readonly (keyof VectorWork)[];

/** The work on this thread. */
export function inlineVectors(setup: VectorSetup, disk: Disk = nodeDisk): Vectors {
  return vectorsOf(openCallQueue(openVectorWork(setup, disk)), async () => {});
}

/** The work on a thread of its own. If the thread dies, every call fails with its error. */
export function threadVectors(setup: VectorSetup): Vectors {
  const thread = new Worker(new URL("./vector-thread.mjs", import.meta.url), {
    workerData: setup,
  });
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  let calls = 0;
  let death: Error | undefined;
  const fail = (error: Error) => {
    death ??= error;
    for (const { reject } of waiting.values()) reject(death);
    waiting.clear();
  };
  thread.on("message", ({ id, value, error }: VectorReply) => {
    const call = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) call?.resolve(value);
    else call?.reject(new Error(error));
  });
  thread.on("error", fail);
  thread.on("exit", (code) => fail(new Error(`the thread for long vectors ended (code ${code})`)));

  const call = (method: keyof VectorWork, args: readonly unknown[]) =>
    new Promise<unknown>((resolve, reject) => {
      if (death) return reject(death);
      const id = ++calls;
      waiting.set(id, { resolve, reject });
      thread.postMessage({ id, method, args } satisfies VectorCall, transferable(method, args));
    });
  return vectorsOf(call, async () => {
    await thread.terminate();
  });
}

/** Calls the work in order: one that waits for the disk holds up those after it. The thread uses it too. */
export function openCallQueue(
  work: VectorWork,
): (method: keyof VectorWork, args: readonly unknown[]) => Promise<unknown> {
  let last: Promise<unknown> = Promise.resolve();
  return (method, args) => {
    const next = last.then(() =>
      (work[method] as (...args: readonly unknown[]) => unknown)(...args),
    );
    last = next.catch(() => {}); // who made the call hears of it
    return next;
  };
}

function vectorsOf(
  call: (method: keyof VectorWork, args: readonly unknown[]) => Promise<unknown>,
  close: () => Promise<void>,
): Vectors {
  const methods = Object.fromEntries(
    METHODS.map((method) => [method, (...args: unknown[]) => call(method, args)]),
  );
  return { ...methods, close } as Vectors;
}

/** A frame or an old vector moves to the thread without a copy where it has its buffer for itself. */
function transferable(method: keyof VectorWork, args: readonly unknown[]): ArrayBuffer[] {
  if (method !== "verify" && method !== "recycle") return [];
  const { buffer, byteLength } = args[0] as Uint8Array;
  return buffer instanceof ArrayBuffer && buffer.byteLength === byteLength ? [buffer] : [];
}
