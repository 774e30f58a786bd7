/**
 * Seeded swarms in which everything may go wrong, checked after every event, on all cores.
 *
 *   npx tsx bench/seeds.ts [seeds] [first]
 */

import { fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { runSeeds } from "../test/coordinator/simulator-seeds.ts";

/** Seeds that a process runs before it says so. */
const BATCH = 10;
const [seeds = 1000, first = 1] = process.argv.slice(2).map(Number);

if (process.send) {
  process.on("message", (from: number) => {
    try {
      runSeeds(from, Math.min(BATCH, first + seeds - from));
      process.send?.("");
    } catch (error) {
      process.send?.(String(error));
    }
  });
  process.send("");
} else {
  const startedAt = performance.now();
  const failures: string[] = [];
  let next = first;
  const work = () =>
    new Promise<void>((resolve, reject) => {
      const child = fork(fileURLToPath(import.meta.url), process.argv.slice(2));
      child.on("message", (failure: string) => {
        if (failure) failures.push(failure);
        if (next >= first + seeds) child.kill();
        else child.send(next);
        next += BATCH;
      });
      child.on("exit", () => resolve());
      child.on("error", reject);
    });
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  const seconds = (performance.now() - startedAt) / 1000;
  for (const failure of failures) console.log(failure);
  console.log(
    `${seeds} seeds from ${first} on: ${failures.length} failed, ${seconds.toFixed(0)} s`,
  );
  process.exitCode = failures.length > 0 ? 1 : 0;
}
