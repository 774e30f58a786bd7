/**
 * The helping threads of a machine: each instantiates the same kernels on the same memory and then
 * stays inside `serve`, spinning a while and then sleeping, until it is told to stop.
 */

export interface ThreadsOptions {
  readonly module: WebAssembly.Module;
  /** Shared. */
  readonly memory: WebAssembly.Memory;
  /** Address of the control block (`assembly/run.ts`). */
  readonly control: number;
  /** All threads, the caller's included. */
  readonly threads: number;
}

export interface Threads {
  /** Ends the threads. */
  close(): Promise<void>;
}

/** What a thread is told when it starts. */
interface ThreadStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly control: number;
  readonly thread: number;
}

// Indices of 32-bit words in the control block.
const START = 0;
const THREADS = 3;
const STOP = 4;

/** What the kernels import: their memory, and how a thread sleeps on a word of it. */
export function kernelImports(memory: WebAssembly.Memory): WebAssembly.Imports {
  // Shared memory grows in place, so a view of its start stays valid; other memory has no threads.
  const words = new Int32Array(memory.buffer);
  return {
    env: {
      memory,
      sleep: (word: number, old: number) => void Atomics.wait(words, word >> 2, old),
      wake: (word: number) => void Atomics.notify(words, word >> 2),
    },
  };
}

/** In Node a thread's code is given as text: a thread does not inherit the loader of TypeScript. */
const NODE_THREAD = `
const { parentPort, workerData } = require("node:worker_threads");
const { module, memory, control, thread } = workerData;
const words = new Int32Array(memory.buffer);
const sleep = (word, old) => void Atomics.wait(words, word >> 2, old);
const wake = (word) => void Atomics.notify(words, word >> 2);
WebAssembly.instantiate(module, { env: { memory, sleep, wake } }).then(({ exports }) => {
  parentPort.postMessage("ready");
  exports.serve(control, thread, 0);
});
`;

/** Starts `threads - 1` threads and waits until they serve. */
export async function startThreads(options: ThreadsOptions): Promise<Threads> {
  const { module, memory, control, threads } = options;
  const words = new Int32Array(memory.buffer, control, 16);
  words[THREADS] = threads;
  const inNode = typeof process !== "undefined" && process.versions?.node !== undefined;
  const start = inNode ? startInNode : startInBrowser;
  const helpers = await Promise.all(
    Array.from({ length: threads - 1 }, (_, i) =>
      start({ module, memory, control, thread: i + 1 }),
    ),
  );
  return {
    async close() {
      const control32 = new Int32Array(memory.buffer, control, 16);
      Atomics.store(control32, STOP, 1);
      Atomics.add(control32, START, 1);
      Atomics.notify(control32, START);
      await Promise.all(helpers.map((stop) => stop()));
    },
  };
}

type Stop = () => Promise<void>;

async function startInNode(workerData: ThreadStart): Promise<Stop> {
  const { Worker } = await import("node:worker_threads");
  const worker = new Worker(NODE_THREAD, { eval: true, workerData, execArgv: [] });
  worker.unref();
  await new Promise<void>((resolve, reject) => {
    worker.once("message", () => resolve());
    worker.once("error", reject);
  });
  return async () => {
    await worker.terminate();
  };
}

async function startInBrowser(start: ThreadStart): Promise<Stop> {
  const worker = new Worker(new URL("./thread.ts", import.meta.url), { type: "module" });
  await new Promise<void>((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => reject(new Error(`a wasm thread did not start: ${event.message}`));
    worker.postMessage(start);
  });
  return async () => worker.terminate();
}
