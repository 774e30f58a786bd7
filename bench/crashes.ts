/**
 * SIGKILL at random moments while volunteers work, with what they were told as the oracle:
 * `npx tsx bench/crashes.ts [KILLS] [SEED]`. Ends with 1 where something published was lost.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runUnderKills } from "../test/support/killed-run.ts";
import { killAll, writeTinyFolder } from "../test/support/processes.ts";

const [kills = 25, seed = 1] = process.argv.slice(2).map(Number);
const root = mkdtempSync(join(tmpdir(), "swarmvit-crashes-"));
try {
  const data = writeTinyFolder(join(root, "data"));
  const { lives, told, contradictions, steps } = await runUnderKills(root, data, {
    ...{ kills, volunteers: 4, seed },
  });
  const lost = lives.filter(({ step, told: before }) => step < before).length;
  const wrong = [...told].filter(
    ([step, weights]) => step < steps.length && steps[step].weights !== weights,
  ).length;
  const gaps = steps.filter(({ step }, i) => step !== i + 1).length;
  const times = lives.slice(1).map(({ readyMs }) => readyMs);
  times.sort((a, b) => a - b);
  const seconds = (ms: number) => (ms / 1000).toFixed(2);
  console.log(
    `${kills} kills, ${steps.length} steps, ${told.size} of them told: ${lost} lost, ${wrong + contradictions.length} told otherwise, ${gaps} lines missing or twice`,
  );
  console.log(
    `ready again, from the start of the process: median ${seconds(times[times.length >> 1])} s, longest ${seconds(times.at(-1) ?? 0)} s`,
  );
  process.exitCode = lost + wrong + contradictions.length + gaps > 0 ? 1 : 0;
} finally {
  await killAll();
  rmSync(root, { recursive: true, force: true });
}
