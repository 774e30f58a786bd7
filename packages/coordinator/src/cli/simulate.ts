/** `swarmvit simulate`: how a run would go with so many volunteers of this mix and this churn. */

import {
  boundOf,
  type ScenarioName,
  type ScenarioOptions,
  scenarioSwarm,
} from "../simulate/scenarios.ts";
import { runSwarm, type SwarmOutcome } from "../simulate/swarm.ts";
import type { SwarmConfig } from "../simulate/swarm-config.ts";
import { wildSwarm } from "../simulate/wild.ts";
import { EXIT } from "./exit-codes.ts";

export interface SimulateOptions extends Omit<ScenarioOptions, "scenario" | "split"> {
  /** `wild`: a tiny model and every fault there is, checked after every event. */
  readonly scenario: ScenarioName | "wild";
  readonly json?: boolean;
}

/** Progress is told when this many real milliseconds have passed. */
const TELL_EVERY_MS = 2000;

/** Runs it and prints a table, or one JSON object; fails where an invariant was violated. */
export function simulateRun(options: SimulateOptions): number {
  const { scenario, seed, steps, json } = options;
  const swarm =
    scenario === "wild" ? wildSwarm(seed, steps) : scenarioSwarm({ ...options, scenario });
  const outcome = runSwarm({ ...swarm, onStep: tellProgress(steps) });
  const summary = summaryOf(options, swarm, outcome);
  process.stdout.write(json ? `${JSON.stringify(summary)}\n` : tableOf(summary, outcome));
  return outcome.violations.length > 0 ? EXIT.failed : EXIT.done;
}

function tellProgress(steps: number): (done: number) => void {
  let toldAt = performance.now();
  return (done) => {
    if (performance.now() - toldAt < TELL_EVERY_MS) return;
    toldAt = performance.now();
    process.stderr.write(`step ${done} of ${steps}\n`);
  };
}

function summaryOf(options: SimulateOptions, swarm: SwarmConfig, outcome: SwarmOutcome) {
  const { scenario } = options;
  const { efficiency, steps, virtualMs, reissued, bytesUp, bytesDown, busy } = outcome;
  return {
    scenario,
    workers: swarm.devices.length,
    seed: options.seed,
    efficiency,
    violations: outcome.violations.length,
    steps,
    virtualSeconds: virtualMs / 1000,
    stepsPerMinute: outcome.stepsPerMinute,
    imagesPerSecond: outcome.imagesPerSecond,
    leases: outcome.leases,
    steady: outcome.steady,
    bound: scenario === "wild" ? undefined : boundOf({ ...options, scenario }),
    coreMsPerStep: scenario === "wild" ? undefined : outcome.coreMs / Math.max(1, steps),
    /** Names the weights at the end: the same again for the same seed. */
    weights: outcome.weights,
    reissued,
    bytesUp,
    bytesDown,
    busy,
  };
}

/** What is reached once everybody is measured, and what these lines allow at most. */
function steadyRows({ steady, bound }: ReturnType<typeof summaryOf>): [string, string][] {
  const words = (at: { efficiency: number; stepsPerMinute: number }) =>
    `${(100 * at.efficiency).toFixed(1)} %, ${at.stepsPerMinute.toFixed(1)} steps a minute`;
  const rows: [string, string][] = [];
  if (steady) rows.push(["once measured", words(steady)]);
  if (bound) {
    const wireMs = bound.upMs + bound.downMs + bound.latencyMs;
    const why = `${bound.computeMs.toFixed(0)} ms of computing and ${wireMs.toFixed(0)} ms of wire a step`;
    rows.push(["at most", `${words(bound)}: ${why}; more units a step raise it`]);
  }
  return rows;
}

function tableOf(summary: ReturnType<typeof summaryOf>, outcome: SwarmOutcome): string {
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
  const megabytes = (bytes: number) => `${(bytes / 1e6 / summary.steps).toFixed(2)} MB a step`;
  const rows: [string, string][] = [
    ["scenario", `${summary.scenario}, ${summary.workers} volunteers, seed ${summary.seed}`],
    ["steps", `${summary.steps} in ${summary.virtualSeconds.toFixed(1)} s of virtual time`],
    ["steps a minute", summary.stepsPerMinute.toFixed(1)],
    ["images a second", summary.imagesPerSecond.toFixed(1)],
    ["efficiency", percent(summary.efficiency)],
    ...steadyRows(summary),
    ...Object.entries(summary.busy).map(([name, share]): [string, string] => [
      `busy ${name}`,
      percent(share),
    ]),
    ["leases", `${summary.leases}, ${summary.reissued} of them given again`],
    ["up", megabytes(summary.bytesUp)],
    ["down", megabytes(summary.bytesDown)],
    ["violations", String(summary.violations)],
  ];
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  const lines = rows.map(([name, value]) => `${name.padEnd(width)}${value}`);
  return `${[...lines, ...outcome.violations.map((what) => `! ${what}`)].join("\n")}\n`;
}
