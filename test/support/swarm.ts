/** A coordinator and volunteers as processes of their own, to be killed, frozen and measured from outside. */

import { type ChildProcess, fork, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { RunConfig } from "@swarmvit/shared/config";
import type { StepRecord } from "@swarmvit/shared/run";
import { build } from "esbuild";
import type { ClusterMessage, Measured } from "./cluster-process.ts";

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));

export interface Swarm {
  readonly url: string;
  readonly directory: string;
  readonly runDirectory: string;
  /** Steps committed, in the order in which the coordinator said so. */
  readonly steps: readonly StepRecord[];
  /** Resolves when so many steps are committed. */
  stepsReach(count: number): Promise<void>;
  onStep(listener: (step: StepRecord) => void): void;
  measure(): Promise<Measured>;
  /** Starts the process of a volunteer that takes `paceMs` for each unit; it joins when it is told to. */
  startVolunteer(paceMs: number): VolunteerProcess;
  close(): Promise<void>;
}

export interface VolunteerProcess extends ChildProcess {
  /** To be called once. */
  join(): void;
}

/** Starts the coordinator; volunteers are bundled once, so that each starts in a fraction of a second. */
export async function openSwarm(config: Partial<RunConfig>): Promise<Swarm> {
  const directory = mkdtempSync(join(tmpdir(), "swarmvit-swarm-"));
  const program = join(directory, "volunteer.mjs");
  await build({
    entryPoints: [here("./volunteer-process.ts")],
    outfile: program,
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "error",
    banner: {
      js: 'import { createRequire as create } from "node:module"; const require = create(import.meta.url);',
    },
  });
  const child = fork(here("./cluster-process.ts"), [directory, JSON.stringify({ config })], {
    execArgv: ["--import", "tsx", "--expose-gc"],
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  const steps: StepRecord[] = [];
  const listeners = new Set<(step: StepRecord) => void>();
  const askers: ((measured: Measured) => void)[] = [];
  child.on("message", (message: ClusterMessage) => {
    if (message.kind === "measured") return askers.shift()?.(message.measured);
    steps.push(message.step);
    for (const listener of listeners) listener(message.step);
  });
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout?.once("data", (line: Buffer) => resolve(line.toString().trim()));
    child.once("exit", (code) => reject(new Error(`the coordinator ended with ${code}`)));
  });
  const volunteers = new Set<ChildProcess>();

  return {
    url,
    directory,
    runDirectory: join(directory, "run"),
    steps,
    stepsReach: (count) =>
      new Promise((resolve) => {
        const look = () => {
          if (steps.length < count) return;
          listeners.delete(look);
          resolve();
        };
        listeners.add(look);
        look();
      }),
    onStep: (listener) => void listeners.add(listener),
    measure: () =>
      new Promise((resolve) => {
        askers.push(resolve);
        child.send("measure");
      }),
    startVolunteer(paceMs) {
      const volunteer = spawn(process.execPath, [program, url, String(paceMs)], {
        stdio: ["pipe", "ignore", "inherit"],
      });
      volunteers.add(volunteer);
      volunteer.once("exit", () => volunteers.delete(volunteer));
      volunteer.stdin.on("error", () => {}); // it was killed before it read
      return Object.assign(volunteer, { join: () => void volunteer.stdin.end("join\n") });
    },
    async close() {
      const all = [...volunteers, child];
      const ended = all.map(
        (one) =>
          new Promise((resolve) => {
            if (one.exitCode !== null || one.signalCode !== null) resolve(undefined);
            one.once("exit", resolve);
            one.kill("SIGKILL");
          }),
      );
      await Promise.all(ended);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
