/** Which executor a device computes with: one table, and the order in which `auto` tries it. */

import type { ChoiceStore } from "../engine/choice-store.ts";
import type { Executor, ExecutorInfo, ModelConfig } from "../engine/executor.ts";
import type { LoadModule } from "../engine/wasm/machine.ts";
import { describeAdapter, openDevice } from "../engine/webgpu/device.ts";
import type { BackendName } from "./compute-port.ts";

export type ExecutorName = Exclude<BackendName, "auto" | "tfjs">;

/** Where the thread runs, as far as the choice depends on it. */
export interface Host {
  readonly kind: "browser" | "node";
  /** In browsers: URL of the folder that holds TF.js's .wasm files, ending in "/". */
  readonly tfjsWasmUrl?: string;
  /** Loads the own kernels' WASM; without it TF.js computes on WASM. */
  readonly loadModule?: LoadModule;
  /** Threads that one executor may use, where it can use several; 1 unless given. */
  readonly threads?: number;
  /** Where choices that were measured on this device are remembered; nowhere unless given. */
  readonly choices?: ChoiceStore;
}

/** A device that was found and started, before it knows a model. */
export interface FoundDevice {
  readonly info: ExecutorInfo;
  createExecutor(config: ModelConfig): Promise<Executor>;
}

interface Entry {
  /** Starts the device. An error says why this device cannot. */
  find(host: Host): Promise<FoundDevice>;
}

/** Loaded when chosen: a page fetches the code of one executor only. */
const EXECUTORS: Readonly<Record<ExecutorName, Entry>> = {
  webgpu: { find: findWebgpu },
  wasm: { find: findWasm },
  "tfjs-webgpu": { find: (host) => findTfjs("webgpu", host) },
  "tfjs-wasm": { find: (host) => findTfjs("wasm", host) },
  "tfjs-cpu": { find: (host) => findTfjs("cpu", host) },
};

/**
 * The executors that a name stands for, best first: the first one that starts is taken. `hardware`
 * says whether the browser has a real GPU; a software one is slower than the processor it runs on.
 */
export function candidates(backend: BackendName, hardware: boolean): readonly ExecutorName[] {
  const onProcessor: ExecutorName[] = ["wasm", "tfjs-wasm"];
  switch (backend) {
    case "auto":
      return hardware ? ["webgpu", "tfjs-webgpu", ...onProcessor] : onProcessor;
    case "wasm":
      return onProcessor;
    case "tfjs":
      return hardware ? ["tfjs-webgpu", "tfjs-wasm", "tfjs-cpu"] : ["tfjs-wasm", "tfjs-cpu"];
    default:
      return [backend];
  }
}

/** Starts the best executor that a name stands for. Throws what the last one said if none starts. */
export async function findDevice(backend: BackendName, host: Host): Promise<FoundDevice> {
  const hardware = host.kind === "browser" && (await hasHardwareGpu());
  let failure: unknown;
  for (const name of candidates(backend, hardware)) {
    try {
      return await EXECUTORS[name].find(host);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

/** What `requestAdapter` gives, in the words of `problems.ts`. Callable in a page and in a worker. */
export async function adapterKind(): Promise<"hardware" | "software" | "none"> {
  const gpu = typeof navigator === "undefined" ? undefined : navigator.gpu;
  if (!gpu) return "none";
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) return "none";
  return describeAdapter(adapter.info).software ? "software" : "hardware";
}

async function hasHardwareGpu(): Promise<boolean> {
  return (await adapterKind()) === "hardware";
}

async function findWebgpu(): Promise<FoundDevice> {
  const { createWebgpuExecutor } = await import("../engine/webgpu/executor.ts");
  const { device, adapterName, software } = await openDevice();
  const info: ExecutorInfo = {
    executor: "webgpu",
    description: adapterName,
    deterministic: false,
    software,
  };
  // The executor owns its device, so a second run on this thread opens another one.
  let unused: GPUDevice | undefined = device;
  return {
    info,
    async createExecutor(config) {
      const own = unused ?? (await openDevice()).device;
      unused = undefined;
      return createWebgpuExecutor(config, own, { adapterName, software });
    },
  };
}

async function findWasm({ loadModule, threads = 1 }: Host): Promise<FoundDevice> {
  if (!loadModule) throw new Error("nobody says where the WASM kernels are; use tfjs-wasm");
  const { createWasmExecutor } = await import("../engine/wasm/executor.ts");
  await loadModule("kernels"); // fails here, not in the middle of a lease
  return {
    info: {
      executor: "wasm",
      description: `processor, ${threads} thread${threads > 1 ? "s" : ""}`,
      deterministic: true,
      software: false,
    },
    createExecutor: (config) => createWasmExecutor(config, { loadModule, threads }),
  };
}

async function findTfjs(backend: "webgpu" | "wasm" | "cpu", host: Host): Promise<FoundDevice> {
  const { env } = await import("@tensorflow/tfjs-core");
  const { openTfjs } = await import("../engine/tfjs/backend.ts");
  const { createTfjsExecutor } = await import("../engine/tfjs/executor.ts");
  env().set("PROD", true); // no advertisement for its other packages
  if (backend === "wasm" && host.kind === "browser") {
    // TF.js starts its threads from a blob: URL that imports a script by a name of its own.
    await import("@tensorflow/tfjs-backend-wasm");
    env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  }
  const options = { wasmBaseUrl: host.tfjsWasmUrl };
  const info = await openTfjs(backend, options);
  return { info, createExecutor: (config) => createTfjsExecutor(config, backend, options) };
}
