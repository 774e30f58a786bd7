/**
 * WebGPU in Node, by the package `webgpu` (Dawn). It brings 130 MB of binaries for all systems, so it is an
 * optional peer: who has a GPU in a machine without a browser installs it.
 */

import { GpuUnavailable } from "../engine/webgpu/device.ts";

const PACKAGE = "webgpu";

/** What the package exports. */
export interface DawnPackage {
  create(options: readonly string[]): GPU;
  /** GPUBufferUsage and the other names that browsers have as globals. */
  readonly globals: object;
}

/** Dawn must not be collected while its devices live. */
let dawn: GPU | undefined;

/** The machine's GPUs. GpuUnavailable, with what to install, where the package is missing or does not load. */
export async function openDawn(
  load: () => Promise<DawnPackage> = () => import(PACKAGE),
): Promise<GPU> {
  if (dawn) return dawn;
  let loaded: DawnPackage;
  try {
    loaded = await load();
  } catch (error) {
    throw new GpuUnavailable(
      "no-webgpu",
      isMissing(error)
        ? `WebGPU in Node needs the package ${PACKAGE} (Dawn): npm install --no-save ${PACKAGE}, or use --backend wasm`
        : `the package ${PACKAGE} (Dawn) does not load here: ${error}; use --backend wasm`,
    );
  }
  Object.assign(globalThis, loaded.globals);
  dawn = loaded.create([]);
  return dawn;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_MODULE_NOT_FOUND";
}
