/** Seeded swarms with everything that can go wrong; a failing seed names the command that replays it. */

import { runSwarm } from "@swarmvit/coordinator/simulate/swarm";
import { wildSwarm } from "@swarmvit/coordinator/simulate/wild";

const STEPS = 200;
/** 1,000 seeds in four files, which run beside each other; bench/seeds.ts runs as many as are asked for. */
const SHARD = 250;

/** Runs a quarter of the seeds, from 1 on. */
export function runShard(shard: number): Record<string, number> {
  return runSeeds(1 + (shard - 1) * SHARD, SHARD);
}

/** The command that runs a seed's swarm again. */
export function replayOf(seed: number, steps: number): string {
  return `npx swarmvit simulate --scenario wild --seed ${seed} --steps ${steps}`;
}

/** Runs the swarms of the seeds [first, first + count); returns how often they met what they are for. */
export function runSeeds(
  first: number,
  count: number,
  swarmOf = wildSwarm,
): Record<string, number> {
  const met = { crashes: 0, expired: 0, refused: 0, abandoned: 0, returned: 0, reissued: 0 };
  for (let seed = first; seed < first + count; seed++) {
    const replay = replayOf(seed, STEPS);
    let outcome: ReturnType<typeof runSwarm>;
    try {
      outcome = runSwarm(swarmOf(seed, STEPS));
    } catch (error) {
      throw new Error(`seed ${seed} failed; replay it with: ${replay}`, { cause: error });
    }
    const { violations, steps, records } = outcome;
    if (violations.length > 0 || steps !== STEPS)
      throw new Error(
        `seed ${seed}: ${violations.slice(0, 5).join("; ")} (${steps} steps); replay it with: ${replay}`,
      );
    met.crashes += outcome.crashes;
    met.reissued += outcome.reissued;
    for (const record of records)
      if (record.kind === "worker" && record.what in met) met[record.what as keyof typeof met]++;
  }
  return met;
}
