/**
 * Eight volunteers as processes: one is killed at a random moment of each of 200 steps, and one is
 * always frozen. Prints steps, gaps between commits, and the ledger.
 *
 *   npx tsx bench/process-kills.ts [steps] [seed]
 */

import { calmWeights, killVolunteers, medianOf } from "../test/support/process-kills.ts";

const [wanted = 200, seed = 1] = process.argv.slice(2).map(Number);
const config = { epochs: 100_000, maxSteps: 100_000, batchSize: 16, unitSize: 2 };

const run = await killVolunteers({
  config,
  volunteers: 8,
  steps: wanted,
  paceMs: 400,
  seed,
  thawEvery: 10,
});
const median = medianOf(run.gapsMs);
const longest = Math.max(...run.gapsMs);
const samples = new Set(run.steps.map(({ samples }) => samples));
const hashes = run.steps.map(({ weights }) => weights);
const calm = await calmWeights(config, hashes.length);
const equal = hashes.filter((hash, i) => hash === calm[i]).length;

console.log(
  `steps with a kill           ${wanted} of ${wanted}; ${run.killed} killed, ${run.frozen} frozen`,
);
console.log(
  `gap between commits         median ${median} ms, longest ${longest} ms (${(longest / median).toFixed(2)} medians)`,
);
console.log(
  `longest five, in medians    ${[...run.gapsMs]
    .sort((a, b) => b - a)
    .slice(0, 5)
    .map((gap) => (gap / median).toFixed(2))
    .join(" ")}`,
);
console.log(`samples of a step           ${[...samples].join(", ")} (16 planned)`);
console.log(`steps of the same weights as an undisturbed run   ${equal} of ${hashes.length}`);
