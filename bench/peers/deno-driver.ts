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
    readTextFile(path: string): Promise<string>;
  };
}
const { Deno } = globalThis as unknown as Host;

const [name, json] = Deno.args;
const unit = JSON.parse(json) as UnitSize;
const before = await mostBytes();
const begunAt = performance.now();
const { round, ...hello } = await openRounds(await open(), unit, begunAt);
console.log(JSON.stringify({ ...hello, profiles: name === "webgpu" }));
for await (const chunk of Deno.stdin.readable)
  for (const line of new TextDecoder().decode(chunk).split("\n").filter(Boolean))
    console.log(JSON.stringify(await answer(line)));
Deno.exit();

async function answer(line: string) {
  if (line === "memory") return { before, most: await mostBytes() };
  return line === "profile" ? profile() : round();
}

/** The most that this process has held, as Linux counts it. */
async function mostBytes(): Promise<number> {
  const status = await Deno.readTextFile("/proc/self/status");
  return Number(/VmHWM:\s*(\d+)/.exec(status)?.[1]) * 1024;
}

async function profile() {
  return profileWebgpu(unit, await openDevice());
}

async function open() {
  if (name === "tfjs-webgpu") return createTfjsExecutor(modelOf(unit), "webgpu");
  const { device, adapterName, software } = await openDevice();
  return createWebgpuExecutor(modelOf(unit), device, { adapterName, software });
}
