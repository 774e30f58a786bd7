/** How each executor is started on this device: one table. */

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
  /** Finds WebGPU where it is no property of `navigator`: in Node. */
  readonly openGpu?: () => Promise<GPU>;
  /** Where choices that were measured on this device are remembered; nowhere unless given. */
  readonly choices?: ChoiceStore;
}

/** A device that was found and started, before it knows a model. */
export interface FoundDevice {
  readonly info: ExecutorInfo;
  createExecutor(config: ModelConfig): Promise<Executor>;
}

/** Starts one executor's device. An error says why this device cannot. */
export function startExecutor(name: ExecutorName, host: Host): Promise<FoundDevice> {
  return STARTERS[name](host);
}

/** What `requestAdapter` gives: its name and, in the words of `problems.ts`, its kind. Callable in a page and in a worker. */
export async function findAdapter(openGpu?: Host["openGpu"]): Promise<{
  readonly kind: "hardware" | "software" | "none";
  readonly name: string;
}> {
  const own = typeof navigator === "undefined" ? undefined : navigator.gpu;
  const gpu = own ?? (await openGpu?.().catch(() => undefined)); // without WebGPU there is no adapter
  const adapter = await gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) return { kind: "none", name: "" };
  const { adapterName, software } = describeAdapter(adapter.info);
  return { kind: software ? "software" : "hardware", name: adapterName };
}

/** Loaded when chosen: a page fetches the code of one executor only. */
const STARTERS: Readonly<Record<ExecutorName, (host: Host) => Promise<FoundDevice>>> = {
  webgpu: startWebgpu,
  wasm: (host) => startWasm(host, false),
  "wasm-relaxed": (host) => startWasm({ ...host, threads: 1 }, true),
  "tfjs-webgpu": (host) => startTfjs("webgpu", host),
  "tfjs-wasm": (host) => startTfjs("wasm", host),
  "tfjs-cpu": (host) => startTfjs("cpu", host),
};

async function startWebgpu({ choices, openGpu }: Host): Promise<FoundDevice> {
  const { createWebgpuExecutor } = await import("../engine/webgpu/executor.ts");
  const { createPipelines } = await import("../engine/webgpu/pipelines.ts");
  const { pickKernels } = await import("../engine/webgpu/tune.ts");
  const open = async () => {
    const { device, adapterName, software } = await openDevice({ gpu: await openGpu?.() });
    const pipelines = createPipelines(device);
    const kernels = await pickKernels(device, { adapterName, software, choices, pipelines });
    return { device, adapterName, software, pipelines, kernels };
  };
  // One device, whose kernels are compiled once: for the self-test and for every run of this thread.
  let current: Awaited<ReturnType<typeof open>> | undefined;
  const opened = async () => {
    if (current) return current;
    const made = await open();
    current = made;
    void made.device.lost.then(() => {
      if (current === made) current = undefined;
    });
    return made;
  };
  const { adapterName, software } = await opened();
  return {
    info: { executor: "webgpu", description: adapterName, deterministic: false, software },
    async createExecutor(config) {
      const { device, ...options } = await opened();
      return createWebgpuExecutor(config, device, options);
    },
  };
}

async function startWasm(
  { loadModule, threads = 1 }: Host,
  relaxed: boolean,
): Promise<FoundDevice> {
  if (!loadModule) throw new Error("nobody says where the WASM kernels are; use tfjs-wasm");
  const { createWasmExecutor } = await import("../engine/wasm/executor.ts");
  await loadModule(relaxed ? "kernels-relaxed" : "kernels"); // fails here, not in the middle of a lease
  return {
    info: {
      executor: "wasm",
      description: `processor, ${threads} thread${threads > 1 ? "s" : ""}${relaxed ? ", relaxed SIMD" : ""}`,
      deterministic: !relaxed,
      software: false,
    },
    createExecutor: (config) => createWasmExecutor(config, { loadModule, threads, relaxed }),
  };
}

async function startTfjs(backend: "webgpu" | "wasm" | "cpu", host: Host): Promise<FoundDevice> {
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
