/**
 * Which executor a device computes with. A name stands for candidates, best first; each has to pass the
 * self-test. Where a processor and a GPU could both do it, `auto` measures, once per adapter and version.
 */

import type { ChoiceStore } from "../engine/choice-store.ts";
import { runSelfTest, SelfTestFailed } from "../engine/self-test.ts";
import type { BackendName } from "./compute-port.ts";
import {
  type ExecutorName,
  type FoundDevice,
  findAdapter,
  type Host,
  startExecutor,
} from "./executors.ts";

/** The device to compute with, and the better ones that did not pass. */
export interface ChosenDevice extends FoundDevice {
  readonly name: ExecutorName;
  readonly passedOver: readonly PassedOver[];
}

export interface PassedOver {
  readonly name: ExecutorName;
  /** It computed wrong numbers, rather than not at all. */
  readonly wrong: boolean;
  readonly detail: string;
}

/** What a choice needs of the world. */
export interface Choosing {
  /** Best first. */
  readonly names: readonly ExecutorName[];
  start(name: ExecutorName): Promise<FoundDevice>;
  readonly choices?: ChoiceStore;
  /** Under which a measured choice is remembered; undefined: nothing is measured. */
  readonly key?: string;
}

interface Tried {
  readonly name: ExecutorName;
  readonly device: FoundDevice;
  readonly unitMs: number;
}

/** `auto` times devices for this long in all; compiling kernels for the first time comes on top. */
const MEASURE_MS = 3_000;
/** The executors worth measuring against each other; TF.js is for where these fail. */
const MEASURABLE: readonly ExecutorName[] = ["wasm", "webgpu"];

/**
 * The executors that a name stands for, best first: the first one that starts and passes is taken.
 * `hardware` says whether there is a real GPU; a software one is slower than the processor it runs on.
 */
export function candidates(backend: BackendName, hardware: boolean): readonly ExecutorName[] {
  const onProcessor: ExecutorName[] = ["wasm", "tfjs-wasm"];
  switch (backend) {
    case "auto":
      return hardware ? ["webgpu", "wasm", "tfjs-webgpu", "tfjs-wasm"] : onProcessor;
    case "wasm":
      return onProcessor;
    case "tfjs":
      return hardware ? ["tfjs-webgpu", "tfjs-wasm", "tfjs-cpu"] : ["tfjs-wasm", "tfjs-cpu"];
    default:
      return [backend];
  }
}

/** Starts the best executor that a name stands for. Throws what the last one said if none passes. */
export async function findDevice(backend: BackendName, host: Host): Promise<ChosenDevice> {
  const adapter = await findAdapter(host.openGpu);
  const names = candidates(backend, adapter.kind === "hardware");
  return chooseDevice({
    names,
    start: (name) => startExecutor(name, host),
    choices: host.choices,
    key: backend === "auto" ? `executor: ${adapter.name}, ${host.threads ?? 1} threads` : undefined,
  });
}

/** The fastest of those that are measured, else the first that passes the self-test. */
export async function chooseDevice({
  names,
  start,
  choices,
  key,
}: Choosing): Promise<ChosenDevice> {
  const passedOver: PassedOver[] = [];
  let failure: unknown = new Error("no executor was named");
  const attempt = async (name: ExecutorName, until?: number): Promise<Tried | undefined> => {
    try {
      const device = await start(name);
      // Plain JavaScript computes as rightly as the page itself, and slowly.
      if (name === "tfjs-cpu") return { name, device, unitMs: 0 };
      const reference = name === "wasm" ? undefined : await start("wasm").catch(() => undefined);
      const { unitMs = 0 } = await runSelfTest((config) => device.createExecutor(config), {
        reference: reference && ((config) => reference.createExecutor(config)),
        measureUntil: until,
      });
      return { name, device, unitMs };
    } catch (error) {
      failure = error;
      const detail = error instanceof Error ? error.message : String(error);
      passedOver.push({ name, wrong: error instanceof SelfTestFailed, detail });
      return undefined;
    }
  };
  const chosen = ({ name, device }: Tried): ChosenDevice => ({ ...device, name, passedOver });

  const rivals = key === undefined ? [] : MEASURABLE.filter((name) => names.includes(name));
  const known = rivals.length > 1 && key !== undefined ? await choices?.get(key) : undefined;
  const remembered = rivals.filter((name) => name === known);
  if (rivals.length > 1 && remembered.length === 0) {
    const began = performance.now();
    const tried: Tried[] = [];
    for (const [i, name] of rivals.entries()) {
      const device = await attempt(name, began + ((i + 1) * MEASURE_MS) / rivals.length);
      if (device) tried.push(device);
    }
    const [fastest] = tried.sort((a, b) => a.unitMs - b.unitMs);
    // One that failed may do better another time: then nothing is remembered.
    if (tried.length === rivals.length) await choices?.set(key as string, fastest.name);
    if (fastest) return chosen(fastest);
  }
  for (const name of new Set([...remembered, ...names])) {
    if (passedOver.some((failed) => failed.name === name)) continue;
    const tried = await attempt(name);
    if (tried) return chosen(tried);
  }
  throw failure;
}
