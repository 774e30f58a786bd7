/** What the bench page knows and does: one interleaved run over this browser's executors. */

import { computed, signal } from "@preact/signals";
import { wrap } from "comlink";
import type { Profile } from "../bench/profile.ts";
import { type Measured, type Row, rowsOf } from "../bench/row.ts";
import type { UnitSize } from "../bench/unit.ts";
import { type ExecutorName, findAdapter } from "../client/executors.ts";
import type { BenchThread } from "../thread/bench-thread.ts";

/** The `tfjs` executor that each is compared with. */
const TFJS: Readonly<Partial<Record<ExecutorName, ExecutorName>>> = {
  wasm: "tfjs-wasm",
  webgpu: "tfjs-webgpu",
};
export const ROUNDS = 6;
/** TF.js computes on a software GPU for half a minute a unit: nobody waits for that unasked. */
const NEEDS_HARDWARE: readonly ExecutorName[] = ["tfjs-webgpu"];

export const unit = signal<UnitSize>({ variant: "xxs", height: 64, width: 64, batch: 8 });
/** Executors that this browser has, and whether they are to be measured. */
export const executors = signal<ReadonlyMap<ExecutorName, boolean>>(
  new Map([
    ["wasm", true],
    ["tfjs-wasm", true],
  ]),
);
export const adapter = signal("");
/** What is going on: undefined before the first run and after the end. */
export const progress = signal<{ readonly words: string; readonly done: number }>();
export const rows = signal<readonly Row[]>([]);
export const profiles = signal<ReadonlyMap<string, Profile>>(new Map());
/** Executors that failed, with what they said. */
export const failures = signal<readonly string[]>([]);
export const running = computed(() => progress.value !== undefined);

let stop: AbortController | undefined;

/** Asks which GPU there is. */
export async function lookAround(): Promise<void> {
  const { kind, name } = await findAdapter().catch(() => ({ kind: "none" as const, name: "" }));
  if (kind === "none") return;
  adapter.value = kind === "software" ? `${name}, a software GPU` : name;
  executors.value = new Map<ExecutorName, boolean>([
    ["webgpu", true],
    ["tfjs-webgpu", kind === "hardware"],
    ...executors.value,
  ]);
}

export function choose(name: ExecutorName, wanted: boolean): void {
  executors.value = new Map(executors.value).set(name, wanted);
}

export function needsHardware(name: ExecutorName): boolean {
  return NEEDS_HARDWARE.includes(name);
}

/** Measures; ends early and keeps nothing when cancelled. */
export async function run(): Promise<void> {
  if (running.value) return;
  stop = new AbortController();
  const { signal: stopped } = stop;
  rows.value = [];
  profiles.value = new Map();
  failures.value = [];
  try {
    await measure(
      [...executors.value].filter(([, wanted]) => wanted).map(([name]) => name),
      unit.value,
      stopped,
    );
  } catch (error) {
    if (!stopped.aborted) failures.value = [...failures.value, wordsOf(error)];
  } finally {
    progress.value = undefined;
  }
}

export function cancel(): void {
  stop?.abort(new Error("cancelled"));
}

/** The rows, as `npm run bench -- engine --json` writes them. */
export function resultUrl(): string {
  const json = `${JSON.stringify(rows.value, undefined, 2)}\n`;
  return URL.createObjectURL(new Blob([json], { type: "application/json" }));
}

async function measure(
  names: readonly ExecutorName[],
  size: UnitSize,
  stopped: AbortSignal,
): Promise<void> {
  const steps = names.length * (ROUNDS + 2);
  let step = 0;
  const say = (words: string) => {
    stopped.throwIfAborted();
    progress.value = { words, done: step++ / steps };
  };
  const open: { name: ExecutorName; thread: Thread; times: number[]; measured: Measured }[] = [];
  const threads: Thread[] = [];
  try {
    for (const name of names) {
      say(`Starting ${name} …`);
      const thread = startThread(stopped);
      threads.push(thread);
      try {
        const { description, firstMs, counts } = await thread.ask((port) => port.open(name, size));
        const times: number[] = [];
        const measured = { executor: name, adapter: description, firstMs, counts, times };
        open.push({ name, thread, times, measured: { ...measured, tfjs: TFJS[name] } });
      } catch (error) {
        stopped.throwIfAborted();
        failures.value = [...failures.value, `${name}: ${wordsOf(error)}`];
      }
    }
    for (let round = 0; round < ROUNDS; round++) {
      for (const { name, thread, times } of open) {
        say(`Round ${round + 1} of ${ROUNDS}: ${name} …`);
        times.push(await thread.ask((port) => port.round()));
      }
      rows.value = rowsOf(
        size,
        open.map(({ measured }) => measured),
      );
    }
    for (const { name, thread } of open) {
      say(`Operations of ${name} …`);
      const profile = await thread.ask((port) => port.profile(name, size));
      if (profile) profiles.value = new Map(profiles.value).set(name, profile);
    }
  } finally {
    for (const thread of threads) thread.close();
  }
}

interface Thread {
  /** What the worker answers, or why it never will. */
  ask<T>(question: (port: ReturnType<typeof wrap<BenchThread>>) => Promise<T>): Promise<T>;
  close(): void;
}

function startThread(stopped: AbortSignal): Thread {
  const worker = new Worker(new URL("../thread/bench-thread.ts", import.meta.url), {
    type: "module",
    name: "swarmvit bench",
  });
  const port = wrap<BenchThread>(worker);
  const ended = new Promise<never>((_, reject) => {
    stopped.addEventListener("abort", () => reject(stopped.reason), { once: true });
    worker.addEventListener("error", (event) => {
      reject(new Error(event.message || "the worker could not be loaded"));
    });
  });
  ended.catch(() => {}); // heard by `ask` alone
  return {
    ask: (question) => Promise.race([question(port), ended]),
    close: () => worker.terminate(),
  };
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
