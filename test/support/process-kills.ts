/**
 * Volunteers as processes, of which one is killed at a random moment of every step and one is frozen;
 * and the ledger of what was counted, taken from outside.
 */

import type { RunConfig } from "@swarmvit/shared/config";
import { hash32 } from "@swarmvit/shared/random";
import type { StepRecord } from "@swarmvit/shared/run";
import { openCluster } from "./cluster.ts";
import { openSwarm, type VolunteerProcess } from "./swarm.ts";

export interface Kills {
  readonly steps: readonly StepRecord[];
  readonly killed: number;
  readonly frozen: number;
  /** Milliseconds between commits. */
  readonly gapsMs: readonly number[];
}

export interface KillOptions {
  readonly config: Partial<RunConfig>;
  readonly volunteers: number;
  readonly steps: number;
  readonly paceMs: number;
  readonly seed: number;
  /** Another one is frozen, and the one before goes on, every so many steps. */
  readonly thawEvery: number;
}

/** Processes that are started and have not joined: enough that starting one never takes longer than killing them. */
const SPARES = 4;
/** Steps before the first kill: everyone has been measured once. */
const WARM_UP = 3;

/** Runs until so many steps are through, each with a kill, after a warm-up, and two more. */
export async function killVolunteers(options: KillOptions): Promise<Kills> {
  const { config, steps: wanted, paceMs, seed, thawEvery } = options;
  const swarm = await openSwarm(config);
  let killed = 0;
  let frozen = 0;
  let ice: VolunteerProcess | undefined;
  let calls = 0;
  const below = (n: number) => hash32(seed, calls++) % n;
  // Who is killed is replaced at once, by a process that has started before.
  const spares = Array.from({ length: options.volunteers + SPARES }, () =>
    swarm.startVolunteer(paceMs),
  );
  const join = () => {
    const [volunteer] = spares.splice(0, 1);
    volunteer.join();
    return volunteer;
  };
  // Oldest first: the one that is frozen has been measured.
  const volunteers = Array.from({ length: options.volunteers }, join);
  const timers = new Set<NodeJS.Timeout>();
  const kill = () => {
    const living = volunteers.filter((volunteer) => volunteer !== ice);
    const victim = living[below(living.length)];
    victim.kill("SIGKILL");
    killed++;
    volunteers.splice(volunteers.indexOf(victim), 1);
    volunteers.push(join());
    spares.push(swarm.startVolunteer(paceMs));
  };
  const freeze = () => {
    ice?.kill("SIGCONT");
    ice = volunteers.find((volunteer) => volunteer !== ice);
    ice?.kill("SIGSTOP");
    frozen++;
  };
  try {
    await swarm.stepsReach(WARM_UP);
    const stepMs = () => medianOf(gapsOf(swarm.steps));
    await new Promise<void>((resolve) => {
      swarm.onStep(({ step }) => {
        if (step > WARM_UP + wanted) return;
        if ((step - WARM_UP) % thawEvery === 1) freeze();
        const killOne = () => {
          kill();
          if (killed === wanted) resolve();
        };
        timers.add(setTimeout(killOne, below(1000) * 0.001 * stepMs()));
      });
    });
    await swarm.stepsReach(WARM_UP + wanted + 2);
    const steps = [...swarm.steps];
    return { steps, killed, frozen, gapsMs: gapsOf(steps.slice(WARM_UP)) };
  } finally {
    for (const timer of timers) clearTimeout(timer);
    ice?.kill("SIGCONT");
    await swarm.close();
  }
}

/** The weights' hashes of the first steps of the same run with one volunteer that nothing happens to. */
export async function calmWeights(config: Partial<RunConfig>, steps: number): Promise<string[]> {
  const cluster = await openCluster({ config: { ...config, maxSteps: steps } });
  const hashes: string[] = [];
  cluster.coordinator.onRecord((record) => {
    if (record.kind === "step") hashes.push(record.weights);
  });
  const volunteer = await cluster.join();
  volunteer.want(2);
  volunteer.serve();
  await cluster.coordinator.finished;
  await cluster.close();
  return hashes;
}

export function medianOf(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

function gapsOf(steps: readonly StepRecord[]): number[] {
  return steps.slice(1).map(({ time }, i) => time - steps[i].time);
}
