/** The part of chromium.ts that runs in the page. */

import { profileWebgpu } from "@swarmvit/worker/bench/profile-webgpu";
import { modelOf, openRounds, type Rounds, type UnitSize } from "@swarmvit/worker/bench/unit";
import type { Executor } from "@swarmvit/worker/engine/executor";
import { createTfjsExecutor } from "@swarmvit/worker/engine/tfjs/executor";
import { createWasmExecutor } from "@swarmvit/worker/engine/wasm/executor";
import { openDevice } from "@swarmvit/worker/engine/webgpu/device";
import { createWebgpuExecutor } from "@swarmvit/worker/engine/webgpu/executor";
import type { ChromiumPeer } from "./chromium.ts";

let rounds: Rounds;
let unit: UnitSize;

/** Computes the first unit; what can be told of it. */
export async function open(name: ChromiumPeer, size: UnitSize) {
  unit = size;
  const begunAt = performance.now();
  rounds = await openRounds(await executorOf(name), unit, begunAt);
  const { description, firstMs, counts } = rounds;
  return { description, firstMs, counts };
}

export function round(): Promise<number> {
  return rounds.round();
}

export async function profile() {
  return profileWebgpu(unit, await openDevice());
}

async function executorOf(name: ChromiumPeer): Promise<Executor> {
  const model = modelOf(unit);
  if (name === "tfjs-webgpu-chromium") return createTfjsExecutor(model, "webgpu");
  if (name === "wasm-chromium") {
    const loadModule = async () => WebAssembly.compileStreaming(fetch("/kernels.wasm"));
    return createWasmExecutor(model, { loadModule });
  }
  const { device, adapterName, software } = await openDevice();
  return createWebgpuExecutor(model, device, { adapterName, software });
}
