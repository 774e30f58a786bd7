/**
 * The kernels with their memory, and the threads that share it. Everything is placed by byte
 * addresses that the caller decides on; the machine only grows its memory and runs programs.
 */

import { kernelImports, startThreads, type Threads } from "./threads.ts";

/** `kernels-relaxed` is faster on some processors and gives other last bits. */
export type KernelBuild = "kernels" | "kernels-threads" | "kernels-relaxed";

/** Fetches and compiles one build of the kernels. */
export type LoadModule = (build: KernelBuild) => Promise<WebAssembly.Module>;

export interface MachineOptions {
  readonly loadModule: LoadModule;
  /** 1 (the default) needs no shared memory. */
  readonly threads?: number;
  /** Uses relaxed SIMD: other bits than everybody else's, one thread only. */
  readonly relaxed?: boolean;
}

export interface Machine {
  readonly threads: number;
  /** Bytes of memory now. */
  readonly bytes: number;
  /** First address that is the caller's to use. */
  readonly base: number;
  /** Makes sure that addresses below `end` exist; throws a `RangeError` where memory runs out. */
  reserve(end: number): void;
  /** A view of memory, valid until `reserve` grows it. */
  floats(address: number, length: number): Float32Array;
  integers(address: number, length: number): Int32Array;
  /** Runs commands [program, end); thread t uses `scratch + t·scratchBytes`. */
  run(program: number, end: number, scratch: number, scratchBytes: number): void;
  close(): Promise<void>;
}

interface Exports {
  run(program: number, end: number, scratch: number): void;
  runTogether(
    control: number,
    program: number,
    end: number,
    scratch: number,
    scratchBytes: number,
  ): void;
}

const PAGE = 65536;
/** The kernels' constants lie below. */
const CONTROL = PAGE;
const BASE = CONTROL + 1024;

/** Instantiates the kernels, and starts `threads - 1` helping threads. */
export async function createMachine({
  loadModule,
  threads = 1,
  relaxed = false,
}: MachineOptions): Promise<Machine> {
  if (!Number.isInteger(threads) || threads < 1)
    throw new Error(`threads must be a whole number of at least 1 (got ${threads})`);
  if (relaxed && threads > 1)
    throw new Error("relaxed SIMD runs on one thread; leave out one of the two options");
  const shared = threads > 1;
  const module = await loadModule(
    relaxed ? "kernels-relaxed" : shared ? "kernels-threads" : "kernels",
  );
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 65536, shared });
  const instance = await WebAssembly.instantiate(module, kernelImports(memory));
  const kernels = instance.exports as unknown as Exports;
  let team: Threads | undefined;
  if (shared) team = await startThreads({ module, memory, control: CONTROL, threads });

  return {
    threads,
    base: BASE,
    get bytes() {
      return memory.buffer.byteLength;
    },
    reserve(end) {
      const missing = Math.ceil(end / PAGE) - memory.buffer.byteLength / PAGE;
      if (missing <= 0) return;
      try {
        memory.grow(missing);
      } catch (cause) {
        const MiB = Math.ceil(end / 2 ** 20);
        throw new RangeError(
          `${MiB} MiB of memory are needed and not to be had; give this volunteer smaller units, or close other programs`,
          { cause },
        );
      }
    },
    floats: (address, length) => new Float32Array(memory.buffer, address, length),
    integers: (address, length) => new Int32Array(memory.buffer, address, length),
    run(program, end, scratch, scratchBytes) {
      if (shared) kernels.runTogether(CONTROL, program, end, scratch, scratchBytes);
      else kernels.run(program, end, scratch);
    },
    async close() {
      await team?.close();
    },
  };
}
