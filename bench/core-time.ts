/**
 * What a step costs the core itself: a swarm runs in virtual time, then the core alone is told the
 * same events again. Time of the thread that it holds up, and beside it the processor time of the
 * whole process between commits, in which the collector's helpers and the engine's compiler count too.
 *
 *   npx tsx bench/core-time.ts [volunteers] [steps] [churn]
 */

import type { CoreEvent } from "@swarmvit/coordinator/core/messages";
import { openSession } from "@swarmvit/coordinator/core/session";
import { toyTools } from "@swarmvit/coordinator/simulate/chance";
import { scenarioSwarm } from "@swarmvit/coordinator/simulate/scenarios";
import { initialState, namesOf } from "@swarmvit/coordinator/simulate/state";
import { runSwarm, START_MS } from "@swarmvit/coordinator/simulate/swarm";

const [workers = 1000, steps = 12, churn = 0] = process.argv.slice(2).map(Number);
const seed = 1;
const events: { readonly event: CoreEvent; readonly now: number }[] = [];
const swarm = scenarioSwarm({
  ...{ scenario: "lan", workers, steps, churn, seed, speeds: [1], classes: 1000 },
});
runSwarm({ ...swarm, onEvent: (event, now) => events.push({ event, now }) });

const session = openSession({
  ...swarm.session,
  ...{ tools: toyTools(seed), startedAt: START_MS, fence: 1 },
  start: namesOf(initialState(swarm.arithmetic, swarm.codec)),
});
const took: number[] = [];
const held: number[] = [];
let before = process.cpuUsage();
let longestMs = 0;
let heldMs = 0;
for (const { event, now } of events) {
  // A commit opens the next step and leases it out: that is the next one's cost.
  if (event.type === "committed") {
    const { user, system } = process.cpuUsage(before);
    took.push((user + system) / 1000);
    held.push(heldMs);
    heldMs = 0;
    before = process.cpuUsage();
  }
  const from = performance.now();
  session.handle(event, now);
  const eventMs = performance.now() - from;
  heldMs += eventMs;
  longestMs = Math.max(longestMs, eventMs);
}
const told = ([first, ...others]: readonly number[]) => {
  const sorted = others.toSorted((a, b) => a - b);
  const median = sorted[sorted.length >> 1];
  return `first step ${first.toFixed(0)} ms, then median ${median.toFixed(1)}, most ${sorted.at(-1)?.toFixed(1)}`;
};
console.log(
  `${workers} volunteers, ${events.length} events, the longest ${longestMs.toFixed(0)} ms`,
);
console.log(`the core's thread:  ${told(held)}`);
console.log(`the whole process:  ${told(took)}`);
