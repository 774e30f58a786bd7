/**
 * The oracle's checks on the `webgpu` executor. Bundled and run where WebGPU is: in a page that calls
 * `checks`, or in Deno with a folder of golden files and the name of a group.
 */

import type { Executor } from "@swarmvit/worker/engine/executor";
import { openDevice } from "@swarmvit/worker/engine/webgpu/device";
import { createWebgpuExecutor } from "@swarmvit/worker/engine/webgpu/executor";
import { webgpuRunGraph } from "@swarmvit/worker/engine/webgpu/run-graph";
import { type Check, failures } from "../../support/allclose.ts";
import type { ReadGolden } from "../../support/fixtures.ts";
import { checkBlocks } from "../../support/oracle-blocks.ts";
import {
  checkActivations,
  checkExecutor,
  NETWORKS,
  type OracleNetwork,
  openNetwork,
} from "../../support/oracle-network.ts";
import { checkOperations } from "../../support/oracle-operations.ts";

/** What a group of checks found. */
export interface Found {
  readonly adapterName: string;
  readonly software: boolean;
  readonly checks: number;
  readonly failures: readonly string[];
}

export type Group = "operations" | "blocks" | "activations" | "networks";

/** Runs one group on this machine's GPU. */
export async function checks(group: Group, read: ReadGolden): Promise<Found> {
  const { device, adapterName, software } = await openDevice();
  const found: Check[] = [];
  if (group === "operations") found.push(...(await checkOperations(webgpuRunGraph(device), read)));
  if (group === "blocks") found.push(...(await checkBlocks(webgpuRunGraph(device), read)));
  if (group === "activations") {
    const run = webgpuRunGraph(device);
    for (const name of NETWORKS.slice(0, 2))
      found.push(...(await checkActivations(run, await openNetwork(read, name))));
  }
  device.destroy();
  if (group === "networks")
    for (const name of NETWORKS) {
      const network = await openNetwork(read, name);
      const executor = await openExecutor(network);
      found.push(...(await checkExecutor(executor, network)));
      await executor.close();
    }
  return { adapterName, software, checks: found.length, failures: failures(found) };
}

async function openExecutor({ config }: OracleNetwork): Promise<Executor> {
  const { device, ...adapter } = await openDevice();
  return createWebgpuExecutor(config, device, adapter);
}

interface Host {
  readonly Deno?: { readonly args: readonly string[]; readFile(path: string): Promise<Uint8Array> };
}
const { Deno } = globalThis as Host;
if (Deno) {
  const [golden, ...groups] = Deno.args;
  const results: Record<string, Found> = {};
  for (const group of groups)
    results[group] = await checks(group as Group, (name) => Deno.readFile(`${golden}/${name}`));
  console.log(JSON.stringify(results));
}
