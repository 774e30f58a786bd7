/**
 * What fitting work to devices is worth: each case in virtual time, split by measured speed and
 * split equally, beside the most that its lines allow.
 *
 *   npx tsx bench/simulate.ts [steps]
 */

import {
  boundOf,
  type ScenarioOptions,
  scenarioSwarm,
} from "@swarmvit/coordinator/simulate/scenarios";
import { runSwarm } from "@swarmvit/coordinator/simulate/swarm";

const steps = Number(process.argv[2] ?? 20);
const usual = { scenario: "lan", steps, churn: 0, seed: 1, classes: 1000 } as const;
const mixed = { ...usual, workers: 4, speeds: [1, 2, 4, 8] };
const many = { ...usual, workers: 64, speeds: [1] };
const cases: ScenarioOptions[] = [
  ...[60, 120, 240, 480].map((units) => ({ ...mixed, units })),
  ...[8, 16, 32].map((each) => ({ ...many, units: each * many.workers })),
  ...[8, 16, 32].map((each) => ({ ...many, units: each * many.workers, churn: 0.3 })),
];
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

for (const options of cases) {
  const { workers, speeds, units, churn } = options;
  const fitted = runSwarm(scenarioSwarm(options));
  const at = fitted.steady ?? fitted;
  const bound = boundOf(options);
  const busy = Math.min(...Object.values(at.busy));
  const words = [
    `${workers} volunteers of ${speeds.join(":")}, ${units} units, churn ${churn}:`,
    `${percent(at.efficiency)} once measured (${percent(fitted.efficiency)} in all, at most ${percent(bound.efficiency)}),`,
    `least busy ${percent(busy)}, ${at.stepsPerMinute.toFixed(1)} steps/min`,
  ];
  if (speeds.length > 1) {
    const equal = runSwarm(scenarioSwarm({ ...options, split: "equal" }));
    const { stepsPerMinute } = equal.steady ?? equal;
    const ratio = at.stepsPerMinute / stepsPerMinute;
    words.push(`= ${ratio.toFixed(2)} times an equal split (${stepsPerMinute.toFixed(1)}),`);
    words.push(`at most ${(bound.stepsPerMinute / stepsPerMinute).toFixed(2)} times`);
  }
  console.log(words.join(" "));
}
