/** Finding a GPU, and the one error that says why it cannot be used. */

/** `lost`, `out-of-memory` and `wrong-numbers` ask for a fresh Web Worker; the others for another executor. */
export type GpuReason =
  | "no-webgpu" // the browser has no WebGPU, or the page is not a secure context
  | "no-adapter"
  | "limits" // the adapter is too small for the model
  | "lost"
  | "out-of-memory"
  | "invalid" // the device refused a command
  | "wrong-numbers"; // a read-back was stale

/** The GPU cannot be used, or no longer; `reason` is what code branches on. */
export class GpuUnavailable extends Error {
  readonly reason: GpuReason;

  constructor(reason: GpuReason, message: string) {
    super(message);
    this.name = "GpuUnavailable";
    this.reason = reason;
  }
}

export interface OpenDevice {
  readonly device: GPUDevice;
  /** Shown to people, and the key under which choices for this adapter are remembered. */
  readonly adapterName: string;
  /** A processor pretending to be a GPU (SwiftShader, llvmpipe, WARP). */
  readonly software: boolean;
}

export interface OpenOptions {
  /** Where WebGPU is; `navigator.gpu` unless given (Dawn in Node). */
  readonly gpu?: GPU;
}

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|microsoft basic render|\bwarp\b|software/i;

/** Larger bindings and buffers than the defaults, where the adapter has them. */
const WANTED = [
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxStorageBuffersPerShaderStage",
] as const;

/** Opens the fastest adapter with its own limits for storage; GpuUnavailable where there is none. */
export async function openDevice(options: OpenOptions = {}): Promise<OpenDevice> {
  const gpu = options.gpu ?? globalThis.navigator?.gpu;
  if (!gpu)
    throw new GpuUnavailable(
      "no-webgpu",
      "WebGPU is missing: expected navigator.gpu, which needs a recent browser and https or localhost",
    );
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter)
    throw new GpuUnavailable(
      "no-adapter",
      "the browser offers no WebGPU adapter: update the graphics driver, or train on WASM",
    );
  const requiredLimits = Object.fromEntries(WANTED.map((name) => [name, adapter.limits[name]]));
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({ requiredLimits });
  } catch (error) {
    throw new GpuUnavailable("no-adapter", `the WebGPU adapter opened no device: ${error}`);
  }
  return { device, ...describeAdapter(adapter.info) };
}

/** An adapter's name, and whether it is a processor pretending to be a GPU. */
export function describeAdapter(info: GPUAdapterInfo): Omit<OpenDevice, "device"> {
  const { vendor, architecture, device, description, isFallbackAdapter } = info;
  // Some report numbers for vendor and model beside a readable description.
  const names = [vendor, architecture, device, description].filter((name) => /[a-z]/i.test(name));
  const adapterName = [...new Set(names)].join(" ") || "unnamed adapter";
  return { adapterName, software: isFallbackAdapter === true || SOFTWARE.test(adapterName) };
}
