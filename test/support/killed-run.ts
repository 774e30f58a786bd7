/** A real run whose coordinator is killed with -9 again and again while real volunteers work. */

import { join } from "node:path";
import { openChance } from "@swarmvit/coordinator/simulate/chance";
import { openOracleRelay } from "./oracle-relay.ts";
import { joinUrl, readSteps, startSwarmvit, TINY } from "./processes.ts";

export interface KilledRun {
  /** Steps done when each life was ready, and how long it took from its start as a process. */
  readonly lives: readonly {
    readonly step: number;
    readonly told: number;
    readonly readyMs: number;
  }[];
  /** Hash of the weights after each number of steps, as volunteers were told by any life. */
  readonly told: ReadonlyMap<number, string>;
  readonly contradictions: readonly string[];
  /** `metrics.jsonl` at the end. */
  readonly steps: readonly { readonly step: number; readonly weights: string }[];
}

/** Kills `kills` times, each at a random packet of the volunteers' traffic; then lets it end well. */
export async function runUnderKills(
  root: string,
  data: string,
  { kills, volunteers, seed }: { kills: number; volunteers: number; seed: number },
): Promise<KilledRun> {
  const chance = openChance(seed);
  const relay = await openOracleRelay();
  const lives: KilledRun["lives"][number][] = [];
  const latest = () => Math.max(0, ...relay.told.keys());
  const start = async (...args: string[]) => {
    const startedAt = performance.now();
    const told = latest();
    const coordinator = startSwarmvit(["train", "--runs-dir", root, "--name", "run", ...args]);
    const url = await joinUrl(coordinator);
    while (!(await fetch(new URL("/healthz", url))).ok);
    const readyMs = performance.now() - startedAt;
    const { step } = (await (await fetch(new URL("/api/run", url))).json()) as { step: number };
    lives.push({ step, told, readyMs });
    relay.target(Number(new URL(url).port));
    return coordinator;
  };
  try {
    let coordinator = await start(
      ...["--data", data, ...TINY, "--epochs", "200", "--eval-every", "1000"],
    );
    const ended = Promise.race(
      Array.from({ length: volunteers }, async () => {
        const volunteer = startSwarmvit(["work", relay.url, "--backend", "wasm", "--threads", "1"]);
        await volunteer.exited;
        throw new Error(`a volunteer ended by itself: ${volunteer.output()}`);
      }),
    );
    ended.catch(() => {}); // at the end they are told to
    for (let kill = 0; kill < kills; kill++) {
      // They go on by themselves: nothing here starts a volunteer again.
      await Promise.race([relay.packets(1 + chance.below(800)), ended]);
      relay.target(undefined);
      await coordinator.kill("SIGKILL");
      coordinator = await start("--resume", "--port", "0");
    }
    await Promise.race([relay.step(latest() + 2), ended]);
    await coordinator.kill("SIGTERM");
    const steps = readSteps(join(root, "run"));
    return { lives, told: relay.told, contradictions: relay.contradictions, steps };
  } finally {
    await relay.close();
  }
}
