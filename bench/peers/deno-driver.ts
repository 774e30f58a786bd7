/**
 * An executor on WebGPU in Deno. Arguments: `webgpu` or `tfjs-webgpu`, and the unit as JSON. Speaks
 * the lines of peer-process.ts.
 */

import { createTfjsExecutor } from "@swarmvit/worker/engine/tfjs/executor";
import { openDevice } from "@swarmvit/worker/engine/webgpu/device";
import { createWebgpuExecutor } from "@swarmvit/worker/engine/webgpu/executor";
import { executorRounds, modelOf } from "./executor-rounds.ts";
import type { UnitSize } from "./peer.ts";

interface Host {
  readonly Deno: {
    readonly args: readonly string[];
    readonly stdin: { readonly readable: AsyncIterable<Uint8Array> };
    exit(): void;
  };
}
const { Deno } = globalThis as unknown as Host;

const [name, json] = Deno.args;
const unit = JSON.parse(json) as UnitSize;
const begunAt = performance.now();
const { round, ...hello } = await executorRounds(await open(), unit, begunAt);
console.log(JSON.stringify(hello));
for await (const chunk of Deno.stdin.readable)
  for (const byte of chunk) if (byte === 10) console.log(await round());
Deno.exit();

async function open() {
  if (name === "tfjs-webgpu") return createTfjsExecutor(modelOf(unit), "webgpu");
  const { device, adapterName, software } = await openDevice();
  return createWebgpuExecutor(modelOf(unit), device, { adapterName, software });
}
