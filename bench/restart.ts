/**
 * How long a killed coordinator takes until it serves again, at its worst: SIGKILL when as many steps
 * as possible lie in the log behind the last checkpoint. Contributions are made up, so steps are quick.
 *
 *   npx tsx bench/restart.ts [model] [codec] [kills]
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { CHECKPOINT_EVERY as every } from "@swarmvit/coordinator/core/options";
import { parameterTable } from "@swarmvit/shared/parameters";
import type { VariantName } from "@swarmvit/shared/variants";
import { connectTo } from "../test/support/cluster.ts";
import { joinUrl, killAll, startSwarmvit, writeTinyFolder } from "../test/support/processes.ts";
import { machineLine } from "./machine-line.ts";

const [model = "mobilevit_s", codec = "int8", kills = "5"] = process.argv.slice(2);
const CLASSES = 3; // of the data that is written here
const table = parameterTable(model.replace("mobilevit_", "") as VariantName, CLASSES);
const root = mkdtempSync(join(tmpdir(), "swarmvit-restart-"));

/** Starts it; milliseconds from the start of the process until it answers that all is well. */
async function start(...args: string[]) {
  const startedAt = performance.now();
  const coordinator = startSwarmvit(["train", "--runs-dir", root, "--name", "run", ...args]);
  const { origin } = new URL(await joinUrl(coordinator));
  while (!(await fetch(`${origin}/healthz`)).ok);
  return { coordinator, url: origin, readyMs: performance.now() - startedAt };
}

async function stepOf(url: string): Promise<number> {
  return ((await (await fetch(`${url}/api/run`)).json()) as { step: number }).step;
}

try {
  const data = writeTinyFolder(join(root, "data"));
  let { coordinator, url } = await start(
    ...["--data", data, "--model", model, "--codec", codec, "--port", "0", "--img-size", "32"],
    ...["--scales", "32:32:1", "--batch-size", "2", "--unit-size", "2", "--epochs", "1000"],
    ...["--eval-every", "1000", "--lr", "1e-4"],
  );
  const times: number[] = [];
  for (let kill = 0; kill < Number(kills); kill++) {
    const volunteers = connectTo(url, table);
    const volunteer = await volunteers.join();
    volunteer.want(1);
    volunteer.serve();
    const last = (kill + 2) * every - 1;
    while ((await stepOf(url)) < last) await wait(5);
    await coordinator.kill("SIGKILL");
    volunteers.close();
    const again = await start("--resume", "--port", "0");
    const [, replayed = "0"] = again.coordinator.output().match(/and (\d+) steps of the log/) ?? [];
    times.push(again.readyMs);
    console.log(
      `killed at step ${await stepOf(again.url)}, ${replayed} steps behind the checkpoint: ready again after ${(again.readyMs / 1000).toFixed(2)} s`,
    );
    ({ coordinator, url } = again);
  }
  times.sort((a, b) => a - b);
  const seconds = (ms: number) => (ms / 1000).toFixed(2);
  console.log(machineLine());
  console.log(
    `${model}, ${codec}, a checkpoint every ${every} steps: ready again after ${seconds(times[times.length >> 1])} s (median of ${times.length}), ${seconds(times[times.length - 1])} s at most`,
  );
} finally {
  await killAll();
  rmSync(root, { recursive: true, force: true });
}
