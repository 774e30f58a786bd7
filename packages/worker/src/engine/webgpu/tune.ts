/**
 * Kernel options for one adapter, picked by measuring for at most five seconds and remembered. Each
 * group of kernels is timed alone on its own dispatches of a small unit, so that few are compiled.
 */

import type { ChoiceStore } from "../choice-store.ts";
import { trainingGraph } from "../mobilevit.ts";
import type { Dispatch } from "./dispatch.ts";
import { HARDWARE_KERNELS, type KernelOptions, usualKernels } from "./kernel-options.ts";
import { createMemory } from "./memory.ts";
import { createPipelines, type Pipelines } from "./pipelines.ts";
import { createProgram } from "./program.ts";
import { unitPlan } from "./unit-programs.ts";
import { createWeights } from "./weights.ts";

/** The longest that `pickKernels` measures. */
export const TUNING_MS = 5000;

/** What is measured: the shapes of a real model, small enough for any device. */
const MODEL = {
  variant: "xxs",
  classes: 1000,
  dropout: 0,
  headDropout: 0,
  smoothing: 0.1,
} as const;
const UNIT = { height: 64, width: 64, batch: 4 } as const;

/** Compiling counts as much as it costs a unit on a visit of this many. */
const UNITS_OF_A_VISIT = 200;

/** Kernels that share options, the largest part of a unit first, and what else they may be. */
const GROUPS: readonly {
  readonly kernels: RegExp;
  readonly alternatives: readonly Partial<KernelOptions>[];
}[] = [
  { kernels: /^product\//, alternatives: [8, 4].flatMap((m) => tiles("tileM", "tileN", m)) },
  {
    kernels: /^weightGrad\//,
    alternatives: [8, 4].flatMap((m) => tiles("gradTileM", "gradTileN", m)),
  },
  {
    kernels: /^(batch|layerNorm)/,
    alternatives: [
      { strip: 16, parallel: 128 },
      { strip: 4, parallel: 4096 },
      { strip: 4, parallel: 16384 },
    ],
  },
  {
    kernels: /^depthwise/,
    alternatives: [
      { depthwiseRows: 16, depthwiseColumns: 4 },
      { depthwiseRows: 4, depthwiseColumns: 4 },
      { depthwiseRows: 8, depthwiseColumns: 2 },
    ],
  },
];

export interface TuneOptions {
  readonly software: boolean;
  /** Names what is remembered: the adapter. The store knows the version. */
  readonly adapterName: string;
  readonly choices?: ChoiceStore;
  /** Keeps what was compiled for whoever computes next. */
  readonly pipelines?: Pipelines;
}

/**
 * The options for this adapter: remembered, else measured within `TUNING_MS`. Software adapters are
 * known and slow to compile: theirs are not measured.
 */
export async function pickKernels(device: GPUDevice, options: TuneOptions): Promise<KernelOptions> {
  const { software, adapterName, choices } = options;
  if (software) return usualKernels({ adapterName, software });
  const key = `webgpu kernels ${adapterName}`;
  const known = parse(await choices?.get(key), HARDWARE_KERNELS);
  if (known) return known;
  const picked = await measureKernels(device, HARDWARE_KERNELS, options.pipelines);
  await choices?.set(key, JSON.stringify(picked));
  return picked;
}

/** Times alternatives group by group and keeps the best; stops at the deadline with what it has. */
export async function measureKernels(
  device: GPUDevice,
  usual: KernelOptions,
  pipelines: Pipelines = createPipelines(device),
): Promise<KernelOptions> {
  const deadline = performance.now() + TUNING_MS;
  // The longest measurement so far: another one has to fit before the deadline.
  let longest = 0;
  let best = usual;
  for (const { kernels, alternatives } of GROUPS) {
    let least = Number.POSITIVE_INFINITY;
    let group = best;
    for (const alternative of [best, ...alternatives.filter((other) => !includes(best, other))]) {
      const begun = performance.now();
      if (begun + longest > deadline) break;
      const candidate = { ...best, ...alternative };
      const ms = await timeGroup(device, candidate, pipelines, kernels);
      longest = Math.max(longest, performance.now() - begun);
      if (ms >= least) continue;
      least = ms;
      group = candidate;
    }
    best = group;
  }
  return best;
}

/** Milliseconds that the kernels of a group cost a unit, with their share of compiling. */
async function timeGroup(
  device: GPUDevice,
  options: KernelOptions,
  pipelines: Pipelines,
  kernels: RegExp,
): Promise<number> {
  const { graph } = trainingGraph(MODEL, UNIT.height, UNIT.width, UNIT.batch);
  const memory = createMemory(device);
  const weights = createWeights(device, MODEL);
  const unit = device.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE });
  const program = createProgram(unitPlan(graph), {
    ...{ memory, pipelines, options, unit },
    outside: (id) => weights.region(graph.values[id]),
  });
  const chosen = ({ kernel }: Dispatch) => kernels.test(kernel.key);
  try {
    await memory.reserve(program.needs);
    const begun = performance.now();
    await pipelines.prepare(program.dispatches.filter(chosen).map(({ kernel }) => kernel));
    const compileMs = performance.now() - begun;
    let least = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 4; round++) {
      const started = performance.now();
      const encoder = device.createCommandEncoder();
      program.encodeOnly(encoder, chosen, 1);
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      least = Math.min(least, performance.now() - started);
    }
    return least + compileMs / UNITS_OF_A_VISIT;
  } finally {
    for (const part of [program, weights, memory]) part.close();
    unit.destroy();
  }
}

function tiles<M extends string, N extends string>(m: M, n: N, rows: number) {
  return [8, 4].map((columns) => ({ [m]: rows, [n]: columns }) as Record<M | N, number>);
}

function includes(options: KernelOptions, part: Partial<KernelOptions>): boolean {
  return Object.entries(part).every(
    ([name, value]) => options[name as keyof KernelOptions] === value,
  );
}

/** Remembered options; undefined where they are none, or those of other fields. */
function parse(text: string | undefined, usual: KernelOptions): KernelOptions | undefined {
  if (text === undefined) return undefined;
  try {
    const kept = JSON.parse(text) as Record<string, unknown>;
    const names = Object.keys(usual) as (keyof KernelOptions)[];
    const fits = names.every((name) => typeof kept[name] === typeof usual[name]);
    return fits ? (kept as unknown as KernelOptions) : undefined;
  } catch {
    return undefined;
  }
}
