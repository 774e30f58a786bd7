/** What may differ between devices: chosen once per adapter, never part of a result's meaning. */

import type { OpenDevice } from "./device.ts";

type AdapterKind = Pick<OpenDevice, "adapterName" | "software">;

export interface KernelOptions {
  /** Invocations in a workgroup. */
  readonly workgroup: number;
  /** Outputs of a product that one invocation keeps in registers: rows and columns. */
  readonly tileM: number;
  readonly tileN: number;
  /** The same for weight gradients. */
  readonly gradTileM: number;
  readonly gradTileN: number;
  /** Rows (even) and columns of a depthwise convolution that one invocation walks. */
  readonly depthwiseRows: number;
  readonly depthwiseColumns: number;
  /**
   * For a compiler that takes long over each load and store and joins neighbouring invocations' itself
   * (SwiftShader): scalars instead of vectors, stores in loops, and one kernel for linear layers and
   * convolutions.
   */
  readonly compact: boolean;
  /** Rows that one invocation walks in elementwise work along channels. */
  readonly strip: number;
  /** How many invocations a reduction is cut into, at least, where there are rows enough. */
  readonly parallel: number;
  /** One attention kernel for all head sizes of a model: less to compile, more to compute. */
  readonly padHeads: boolean;
}

/** Good on the software adapters: large register tiles, long strips, little parallelism. */
export const SOFTWARE_KERNELS: KernelOptions = {
  workgroup: 32,
  tileM: 8,
  tileN: 8,
  gradTileM: 8,
  gradTileN: 8,
  depthwiseRows: 16,
  depthwiseColumns: 4,
  compact: false,
  strip: 16,
  parallel: 128,
  padHeads: true,
};

/** Compiling costs SwiftShader more than a unit does; what it compiles sooner it also runs faster. */
const SWIFTSHADER_KERNELS: KernelOptions = {
  ...SOFTWARE_KERNELS,
  depthwiseColumns: 1,
  compact: true,
};

/** For real GPUs: smaller tiles, so that more invocations hide the latency of memory. */
export const HARDWARE_KERNELS: KernelOptions = {
  workgroup: 64,
  tileM: 4,
  tileN: 8,
  gradTileM: 4,
  gradTileN: 8,
  depthwiseRows: 4,
  depthwiseColumns: 4,
  compact: false,
  strip: 4,
  parallel: 16384,
  padHeads: false,
};

/** The options to begin with on an adapter. */
export function usualKernels({ adapterName, software }: AdapterKind): KernelOptions {
  if (!software) return HARDWARE_KERNELS;
  return /swiftshader/i.test(adapterName) ? SWIFTSHADER_KERNELS : SOFTWARE_KERNELS;
}
