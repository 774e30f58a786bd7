/**
 * An executor on WebGPU in Deno. Arguments: `webgpu` or `tfjs-webgpu`, and the unit as JSON. Speaks
 * the lines of peer-process.ts.
 */

import { profileWebgpu } from "@swarmvit/worker/bench/profile-webgpu";
import { modelOf, openRounds, type UnitSize } from "@swarmvit/worker/bench/unit";
import { createTfjsExecutor } from "@swarmvit/worker/engine/tfjs/executor";
import { openDevice } from "@swarmvit/worker/engine/webgpu/device";
import { createWebgpuExecutor } from "@swarmvit/worker/engine/webgpu/executor";

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
const { round, ...hello } = await openRounds(await open(), unit, begunAt);
console.log(JSON.stringify({ ...hello, profiles: name === "webgpu" }));
for await (const chunk of Deno.stdin.readable)
  for (const line of new TextDecoder().decode(chunk).split("\n").filter(Boolean))
    console.log(JSON.stringify(line === "profile" ? await profile() : await round()));
Deno.exit();

async function profile() {
  return profileWebgpu(unit, await openDevice());
}

async function open() {
  if (name === "tfjs-webgpu") return createTfjsExecutor(modelOf(unit), "webgpu");
  const { device, adapterName, software } = await openDevice();
  return createWebgpuExecutor(modelOf(unit), device, { adapterName, software });
}
