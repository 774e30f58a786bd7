/** Real `swarmvit` processes for end-to-end tests: started, watched by their lines, killed, awaited. */

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { MetricRecord, StepRecord } from "@swarmvit/shared/run";
import { decodeSafetensors } from "@swarmvit/shared/safetensors";
import { encodePng } from "../../packages/coordinator/src/datasets/png.ts";

const EXECUTABLE = fileURLToPath(
  new URL("../../packages/coordinator/bin/swarmvit.mjs", import.meta.url),
);

export interface Process {
  readonly child: ChildProcess;
  /** Everything it has said so far, stdout and stderr. */
  output(): string;
  /** Resolves with the first match in its output, also of what was said before. Rejects if it ends first. */
  said(pattern: RegExp): Promise<RegExpMatchArray>;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

const running = new Set<Process>();

/**
 * Starts the command line with these arguments. `SWARMVIT_*` of the outside is not passed on;
 * `more` is added to the environment.
 */
export function startSwarmvit(
  args: readonly string[],
  cwd?: string,
  more: Readonly<Record<string, string>> = {},
): Process {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("SWARMVIT_")),
  );
  const child = spawn(process.execPath, [EXECUTABLE, ...args], {
    cwd,
    env: { ...env, CI: "true", NO_COLOR: "1", ...more },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let text = "";
  const listeners = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (part: string) => {
      text += part;
      for (const listener of listeners) listener();
    });
  const exited = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  const process_: Process = {
    child,
    output: () => text,
    exited,
    said(pattern) {
      return new Promise((resolve, reject) => {
        const look = () => {
          const match = text.match(pattern);
          if (!match) return;
          listeners.delete(look);
          resolve(match);
        };
        listeners.add(look);
        look();
        exited.then(() => {
          look();
          reject(new Error(`ended before it said ${pattern}; it said:\n${text}`));
        });
      });
    },
    async kill(signal = "SIGKILL") {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      await exited;
    },
  };
  running.add(process_);
  exited.then(() => running.delete(process_));
  return process_;
}

/** Ends what a test left behind: call it in `afterEach`. */
export async function killAll(): Promise<void> {
  await Promise.all([...running].map((process_) => process_.kill()));
}

/** Where volunteers join: the link that `train` printed. */
export async function joinUrl(coordinator: Process): Promise<string> {
  const [, link] = await coordinator.said(/Join\s+(http\S+)/);
  return link.replace("localhost", "127.0.0.1");
}

/** Settings of the smallest real run: 32 and 48 pixels, four units of two samples a step. */
export const TINY = [
  ["--img-size", "32"],
  ["--scales", "32:48:2:16"],
  ["--batch-size", "8"],
  ["--unit-size", "2"],
  ["--port", "0"],
].flat();

/** An image folder of three classes of 32x32 PNGs: discs, bars and checks, with noise. */
export function writeTinyFolder(directory: string, perClass = 40): string {
  const shapes: Record<string, (x: number, y: number, n: number) => boolean> = {
    bar: (x, _y, n) => Math.abs(x - 10 - (n % 12)) < 4,
    check: (x, y, n) => ((x >> 2) + (y >> 2) + n) % 2 === 0,
    disc: (x, y, n) => (x - 16) ** 2 + (y - 16) ** 2 < (6 + (n % 6)) ** 2,
  };
  for (const [split, count] of [
    ["train", perClass],
    ["val", 8],
  ] as const)
    for (const [name, inside] of Object.entries(shapes)) {
      const folder = join(directory, split, name);
      mkdirSync(folder, { recursive: true });
      for (let n = 0; n < count; n++) {
        const pixels = new Uint8Array(32 * 32);
        for (let i = 0; i < pixels.length; i++) {
          const noise = (Math.imul(i + 1, 2654435761 + n * 97) >>> 24) >> 2;
          pixels[i] = noise + (inside(i % 32, i >> 5, n) ? 170 : 20);
        }
        writeFileSync(join(folder, `${n}.png`), encodePng(pixels, 32, 32, 1));
      }
    }
  return directory;
}

export function readMetrics(runDirectory: string): MetricRecord[] {
  return readFileSync(join(runDirectory, "metrics.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as MetricRecord);
}

export function readSteps(runDirectory: string): StepRecord[] {
  return readMetrics(runDirectory).filter((record): record is StepRecord => record.kind === "step");
}

/** What a run computed: the hash of the weights at each step, and of the final tensors. */
export function fingerprintOf(runDirectory: string): { steps: string[]; final: string } {
  const steps = readSteps(runDirectory).map(({ step, weights }) => `${step} ${weights}`);
  const { tensors } = decodeSafetensors(readFileSync(join(runDirectory, "last.safetensors")));
  const hash = createHash("sha256");
  for (const [name, { bytes }] of tensors) hash.update(name).update(bytes);
  return { steps, final: hash.digest("hex") };
}
