/** What a device does to an executor: it is lost, it refuses memory, it is used for a long time. */

import { parameterTable } from "@swarmvit/shared/parameters";
import type { Batch, Executor, NodeGradient } from "@swarmvit/worker/engine/executor";
import { formulaBatch, formulaWeights } from "@swarmvit/worker/engine/formula-model";
import { GpuUnavailable, openDevice } from "@swarmvit/worker/engine/webgpu/device";
import { createWebgpuExecutor } from "@swarmvit/worker/engine/webgpu/executor";
import { allClose, type Check, check } from "../../support/allclose.ts";

const MODEL = {
  variant: "xxs",
  classes: 10,
  dropout: 0.1,
  headDropout: 0.1,
  smoothing: 0.1,
} as const;
const TABLE = parameterTable(MODEL.variant, MODEL.classes);
const SMALL: Batch = formulaBatch(MODEL.variant, 32, 32, 2, MODEL.classes);

const wrong = (right: boolean) => (right ? 0 : 1);

/** A device destroyed between units and within one; a new executor goes on with the same numbers. */
export async function checkLoss(): Promise<Check[]> {
  const found: Check[] = [];
  const { device, ...adapter } = await openDevice();
  const executor = await withWeights(createWebgpuExecutor(MODEL, device, adapter));
  const before = await nodeOf(executor, [SMALL]);
  const node = executor.startNode();
  await node.add(SMALL);
  const within = reasonOf(node.add(SMALL));
  device.destroy();
  const said = [
    await within,
    await reasonOf(node.finish()),
    await reasonOf(executor.predict(SMALL)),
  ];
  // The unit on its way may have been faster than the loss.
  found.push(check("within a unit", wrong(said[0] === "lost" || said[0] === "none"), 0));
  found.push(check(`after it (${said})`, wrong(said[1] === "lost" && said[2] === "lost"), 0));
  await executor.close();

  const next = await openDevice();
  const second = await withWeights(createWebgpuExecutor(MODEL, next.device, next));
  const after = await nodeOf(second, [SMALL]);
  found.push(allClose("the gradient after a restart", after.gradient, before.gradient, {}));
  await second.close();
  return found;
}

/** A unit larger than the device's buffers is refused as such; smaller ones still compute, as before. */
export async function checkMemory(): Promise<Check[]> {
  const adapter = await navigator.gpu.requestAdapter();
  // Without asking for more, a buffer has at most 256 MiB everywhere.
  const device = await adapter?.requestDevice();
  if (!device) throw new Error("no WebGPU device");
  const executor = await withWeights(
    createWebgpuExecutor(MODEL, device, { adapterName: "limited", software: true }),
  );
  const before = await nodeOf(executor, [SMALL]);
  const [height, width, samples] = [320, 320, 16];
  const large: Batch = {
    ...{ height, width, seed: 1 },
    pixels: new Float32Array(samples * height * width * 3),
    labels: new Int32Array(samples),
  };
  const planned = executor.plannedBytes(height, width, samples);
  const node = executor.startNode();
  const reason = await reasonOf(node.add(large));
  node.abandon();
  const after = await nodeOf(executor, [SMALL]);
  const { bytes } = executor.counts();
  await executor.close();
  return [
    check("planned beyond the limit", wrong(planned > 2 * device.limits.maxBufferSize), 0),
    check("refused", wrong(reason === "out-of-memory"), 0),
    check("refused memory is not counted", bytes, planned / 4),
    allClose("the gradient afterwards", after.gradient, before.gradient, {}),
  ];
}

/** Nodes of five units each: after the first two nothing is made, and the process does not grow. */
export async function checkGrowth(units: number, residentBytes?: () => number): Promise<Check[]> {
  const { device, ...adapter } = await openDevice();
  const made = countObjects(device);
  const executor = await withWeights(createWebgpuExecutor(MODEL, device, adapter));
  const node = async () => {
    const sums = executor.startNode();
    for (let seed = 0; seed < 5; seed++) await sums.add({ ...SMALL, seed });
    return sums.finishEncoded?.("int8");
  };
  for (let i = 0; i < 2; i++) await node();
  const [objects, { bytes, pipelines }] = [made(), executor.counts()];
  const resident: number[] = [];
  for (let i = 2; i < units / 5; i++) {
    await node();
    resident.push(residentBytes?.() ?? 0);
  }
  // A process swings: what it cannot fall below is what it keeps. The first fifth warms it up.
  const fifth = Math.floor(resident.length / 5);
  const grown = Math.min(...resident.slice(-fifth)) - Math.min(...resident.slice(fifth, 2 * fifth));
  const after = executor.counts();
  await executor.close();
  return [
    check("buffers, groups, kernels made", made() - objects, 0),
    check("bytes of buffers", after.bytes - bytes, 0),
    check("pipelines", after.pipelines - pipelines, 0),
    check("MiB that the process grew", grown / 2 ** 20, 8 + units / 50),
  ];
}

/** Counts what a device is asked to make; what it makes is real. */
function countObjects(device: GPUDevice): () => number {
  let count = 0;
  const methods = [
    ...["createBuffer", "createBindGroup", "createBindGroupLayout", "createPipelineLayout"],
    ...["createShaderModule", "createComputePipelineAsync"],
  ] as const;
  for (const name of methods as readonly (keyof GPUDevice)[]) {
    const original = device[name] as (...args: unknown[]) => unknown;
    Object.defineProperty(device, name, {
      value: (...args: unknown[]) => {
        count++;
        return original.apply(device, args);
      },
    });
  }
  return () => count;
}

async function withWeights<E extends Executor>(opening: Promise<E>): Promise<E> {
  const executor = await opening;
  const { parameters, statistics } = formulaWeights(TABLE);
  await executor.setWeights(parameters, statistics);
  return executor;
}

async function nodeOf(executor: Executor, units: readonly Batch[]): Promise<NodeGradient> {
  const node = executor.startNode();
  for (const one of units) await node.add(one);
  return node.finish();
}

/** The reason of a GpuUnavailable; "none" where nothing failed. */
async function reasonOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "none";
  } catch (error) {
    return error instanceof GpuUnavailable ? error.reason : String(error);
  }
}
