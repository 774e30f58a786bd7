/** Opens one TF.js backend and makes sure that it is the one that was asked for. */

import * as tf from "@tensorflow/tfjs-core";
import type { ExecutorInfo } from "../executor.ts";

export type TfjsBackend = "cpu" | "wasm" | "webgpu";

export interface TfjsOptions {
  /** In browsers: URL of the folder that holds TF.js's .wasm files, ending in "/". */
  readonly wasmBaseUrl?: string;
}

/** Registers and starts a TF.js backend. An error says why a device cannot use it. */
export async function openTfjs(
  backend: TfjsBackend,
  { wasmBaseUrl }: TfjsOptions = {},
): Promise<ExecutorInfo> {
  let adapter = { name: "", software: false };
  if (backend === "webgpu") {
    adapter = await probeAdapter();
    await import("@tensorflow/tfjs-backend-webgpu");
  } else if (backend === "wasm") {
    // In Node the package finds its files by itself.
    const { setWasmPaths } = await import("@tensorflow/tfjs-backend-wasm");
    if (wasmBaseUrl !== undefined) setWasmPaths(wasmBaseUrl);
  } else {
    await import("@tensorflow/tfjs-backend-cpu");
  }
  // setBackend can resolve to false, and ready() can settle on another backend: ask afterwards.
  const accepted = await tf.setBackend(backend);
  await tf.ready();
  if (!accepted || tf.getBackend() !== backend)
    throw new Error(
      `TF.js could not start its ${backend} backend (it runs ${tf.getBackend()}); use another backend`,
    );
  return {
    executor: "tfjs",
    description: `${backend} (tfjs)${adapter.name && ` on ${adapter.name}`}`,
    deterministic: backend === "cpu",
    software: adapter.software,
  };
}

async function probeAdapter(): Promise<{ name: string; software: boolean }> {
  const gpu = typeof navigator === "undefined" ? undefined : navigator.gpu;
  if (!gpu)
    throw new Error("this page has no WebGPU (it needs https or localhost); use the wasm backend");
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("the browser offers no WebGPU adapter; use the wasm backend");
  const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info;
  const name = [vendor, description || device || architecture].filter(Boolean).join(" ");
  const software =
    isFallbackAdapter ||
    /swiftshader|llvmpipe|software|basic render/i.test(`${name} ${architecture}`);
  return { name: name || "an unnamed adapter", software };
}
