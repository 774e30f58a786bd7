/**
 * The oracle's checks on the `webgpu` executor. Bundled and run where WebGPU is: in a page that calls
 * `checks`, or in Deno with a folder of golden files and the name of a group.
 */

import { CODECS, encodeGradient } from "@swarmvit/shared/codec";
import { parameterTable } from "@swarmvit/shared/parameters";
import { createChoiceStore } from "@swarmvit/worker/engine/choice-store";
import type { Batch } from "@swarmvit/worker/engine/executor";
import { createTreeSum } from "@swarmvit/worker/engine/tree-sum";
import { openDevice } from "@swarmvit/worker/engine/webgpu/device";
import { createWebgpuExecutor, type WebgpuExecutor } from "@swarmvit/worker/engine/webgpu/executor";
import { HARDWARE_KERNELS, usualKernels } from "@swarmvit/worker/engine/webgpu/kernel-options";
import { createPipelines } from "@swarmvit/worker/engine/webgpu/pipelines";
import { webgpuRunGraph } from "@swarmvit/worker/engine/webgpu/run-graph";
import { pickKernels } from "@swarmvit/worker/engine/webgpu/tune";
import { allClose, type Check, check, failures, maxError } from "../../support/allclose.ts";
import { checkLoneNorms, checkNetworkNorms } from "../../support/batch-norm-precision.ts";
import type { ReadGolden } from "../../support/fixtures.ts";
import { checkBlocks } from "../../support/oracle-blocks.ts";
import {
  checkActivations,
  checkAttention,
  checkExecutor,
  NETWORKS,
  type OracleNetwork,
  openNetwork,
} from "../../support/oracle-network.ts";
import { checkOperations } from "../../support/oracle-operations.ts";
import { checkCodecs } from "./webgpu-codec-checks.ts";
import { checkGrowth, checkLoss, checkMemory } from "./webgpu-failure-checks.ts";
import { checkSizes } from "./webgpu-size-checks.ts";

/** What a group of checks found. */
export interface Found {
  readonly adapterName: string;
  readonly software: boolean;
  readonly checks: number;
  readonly failures: readonly string[];
}

export type Group =
  | "operations"
  | "blocks"
  | "activations"
  | "networks"
  | "hardware"
  | "codecs"
  | "tuning"
  | "loss"
  | "memory"
  | "growth"
  | "nodes"
  | "sizes";

/** The compiled `wasm` kernels, seen from the golden files. */
const KERNELS = "../../packages/worker/src/engine/wasm/build/kernels.wasm";

/** Runs one group on this machine's GPU. */
export async function checks(group: Group, read: ReadGolden): Promise<Found> {
  const { device, adapterName, software } = await openDevice();
  const usual = usualKernels({ adapterName, software });
  const found: Check[] = [];
  // One device for all networks of a group: what is compiled for one serves the next.
  const pipelines = createPipelines(device);
  const openShared = ({ config }: OracleNetwork) =>
    createWebgpuExecutor(config, device, { adapterName, software, pipelines });
  if (group === "operations") {
    const run = webgpuRunGraph(device, usual);
    found.push(...(await checkOperations(run, read)));
    found.push(...(await checkLoneNorms(run)), ...(await checkNetworkNorms(run)));
  }
  if (group === "blocks") found.push(...(await checkBlocks(webgpuRunGraph(device, usual), read)));
  if (group === "activations") {
    const run = webgpuRunGraph(device, usual);
    for (const name of NETWORKS.slice(0, 2)) {
      const network = await openNetwork(read, name);
      found.push(...(await checkActivations(run, network)));
      const executor = await openShared(network);
      for (const place of [
        { stage: 2, layer: 1 },
        { stage: 4, layer: 2 },
      ])
        found.push(...(await checkAttention(run, executor, network, place)));
      await executor.close();
    }
  }
  // The tiles meant for real GPUs compute the same, here on software.
  if (group === "hardware") {
    const run = webgpuRunGraph(device, HARDWARE_KERNELS);
    found.push(...(await checkOperations(run, read)), ...(await checkBlocks(run, read)));
  }
  if (group === "codecs") found.push(...(await checkCodecs(device)));
  if (group === "tuning") found.push(...(await checkTuning(device)));
  if (group === "sizes") {
    const loadModule = async () => WebAssembly.compile(Uint8Array.from(await read(KERNELS)));
    found.push(...(await checkSizes({ device, adapterName, software }, loadModule)));
  }
  if (group === "networks")
    for (const name of NETWORKS) {
      const network = await openNetwork(read, name);
      const executor = await openShared(network);
      found.push(...(await checkExecutor(executor, network)));
      await executor.close();
    }
  device.destroy();
  if (group === "loss") found.push(...(await checkLoss()));
  if (group === "memory") found.push(...(await checkMemory()));
  // SwiftShader takes ten times as long: there the counts must do.
  if (group === "growth")
    found.push(...(await (Deno ? checkGrowth(growthUnits(), residentBytes) : checkGrowth(20))));
  if (group === "nodes") found.push(...(await checkNodes(await openNetwork(read, NETWORKS[0]))));
  return { adapterName, software, checks: found.length, failures: failures(found) };
}

/** Units of two sizes with dropout: sums of a node, and nothing compiled or allocated again. */
async function checkNodes(network: OracleNetwork): Promise<Check[]> {
  const { parameters, batch } = network;
  const config = { ...network.config, dropout: 0.1, headDropout: 0.1 };
  const executor = await openExecutor({ ...network, config });
  await executor.setWeights(parameters);
  const half = {
    height: 48,
    width: 80,
    pixels: batch.pixels.slice(0, 2 * 48 * 80 * 3),
    labels: batch.labels.slice(0, 2),
  };
  const units: Batch[] = [1, 2, 3, 4, 5].map((seed) => ({ ...(seed % 2 ? batch : half), seed }));
  const nodeOf = async (list: readonly Batch[]) => {
    const node = executor.startNode();
    for (const one of list) await node.add(one);
    return node.finish();
  };
  const alone = [];
  for (const one of units) alone.push(await nodeOf([one]));
  const before = executor.counts();
  const together = await nodeOf(units);
  const again = await nodeOf(units);
  const after = executor.counts();
  // Five units in tree order: ((0 + 1) + (2 + 3)) + 4, one float32 rounding each.
  const first = alone[0].gradient.slice(); // the tree sum overwrites what it is given
  const tree = createTreeSum();
  for (const node of alone) tree.add(node);
  const want = tree.finish();
  for (const [height, width] of [
    [64, 32],
    [96, 64],
    [32, 96],
  ])
    await nodeOf([
      { ...half, height, width, pixels: batch.pixels.slice(0, 6 * height * width), seed: 6 },
    ]);
  const sizes = executor.counts();
  const same = await nodeOf([units[0]]);
  const other = await nodeOf([{ ...units[0], seed: 99 }]);
  const table = parameterTable(config.variant, config.classes);
  const coded: Check[] = [];
  for (const codec of CODECS) {
    const node = executor.startNode();
    for (const one of units) await node.add(one);
    const encoded = (await node.finishEncoded?.(codec))?.gradient;
    const want = encodeGradient(codec, table, together.gradient);
    const wrong = want.filter((byte, i) => byte !== encoded?.[i]).length;
    coded.push(check(`wrong bytes as ${codec}`, wrong, 0));
  }
  await executor.close();
  const slots = 2 * 2 * (together.gradient.length + together.statistics.length) * 4 * 1.1;
  return [
    check("samples", Math.abs(together.samples - want.samples), 0),
    allClose("loss", [together.loss], [want.loss], { relative: 1e-6 }),
    allClose("gradient", together.gradient, want.gradient, {}),
    allClose("statistics", together.statistics, want.statistics, { relative: 1e-6 }),
    allClose("gradient again", again.gradient, together.gradient, {}),
    check("pipelines made by a second node", after.pipelines - before.pipelines, 1),
    check("bytes added for its sums", after.bytes - before.bytes, slots),
    check("dispatches of a unit", after.dispatches, 600),
    check("pipelines", after.pipelines, 60),
    check("pipelines made by three more sizes", sizes.pipelines - after.pipelines, 0),
    ...coded,
    // Masks come from the seed alone.
    allClose("the same seed", same.gradient, first, {}),
    check("another seed", maxError(other.gradient, same.gradient) > 1e-3 ? 0 : 1, 0),
  ];
}

/** What was picked is remembered, and what is remembered is taken; nonsense is measured again. */
async function checkTuning(device: GPUDevice): Promise<Check[]> {
  const choices = createChoiceStore();
  const options = { software: false, adapterName: "this one", choices };
  const pick = async () => JSON.stringify(await pickKernels(device, options));
  const key = "webgpu kernels this one";
  await choices.set(key, '{"tileM":"8"}');
  const picked = await pick();
  const kept = await choices.get(key);
  const other = JSON.stringify({ ...HARDWARE_KERNELS, tileM: 2 });
  await choices.set(key, other);
  const remembered = await pick();
  const usual = Object.keys(HARDWARE_KERNELS).join();
  const wrong = (right: boolean) => (right ? 0 : 1);
  return [
    check("kept", wrong(kept === picked), 0),
    check("fields", wrong(Object.keys(JSON.parse(picked)).join() === usual), 0),
    check("remembered", wrong(remembered === other), 0),
  ];
}

/** As many as show a leak; GROWTH_UNITS=500 in the environment looks longer. */
function growthUnits(): number {
  return Number(Deno?.env.get("GROWTH_UNITS") ?? 200);
}

function residentBytes(): number {
  (globalThis as { gc?: () => void }).gc?.(); // what is garbage has not grown
  return Deno?.memoryUsage().rss ?? 0;
}

async function openExecutor({ config }: OracleNetwork): Promise<WebgpuExecutor> {
  const { device, ...adapter } = await openDevice();
  return createWebgpuExecutor(config, device, adapter);
}

interface Host {
  readonly Deno?: {
    readonly args: readonly string[];
    readFile(path: string): Promise<Uint8Array>;
    memoryUsage(): { readonly rss: number };
    readonly env: { get(name: string): string | undefined };
  };
}
const { Deno } = globalThis as Host;
if (Deno) {
  const [golden, ...groups] = Deno.args;
  const results: Record<string, Found> = {};
  for (const group of groups)
    results[group] = await checks(group as Group, (name) => Deno.readFile(`${golden}/${name}`));
  console.log(JSON.stringify(results));
}
