/**
 * The stranger of `attack.ts` as a process: `attack-process.ts URL JSON`. With messages it attacks and
 * ends; with a share of a core it burns that and sends nothing, so that what the attacker's own work
 * takes from everybody on the machine can be told apart; else it squats until it is killed. It prints
 * what it did, as JSON, with the milliseconds of processor time that it took.
 */

import { parameterTable } from "@swarmvit/shared/parameters";
import { attack, squat } from "./attack.ts";

const [url, json] = process.argv.slice(2);
const { seed, messages, durationMs, share, idle, deaf } = JSON.parse(json);
const startedAt = performance.now();
const before = process.cpuUsage();
const cost = () => {
  const { user, system } = process.cpuUsage(before);
  return { cpuMs: (user + system) / 1000, ms: performance.now() - startedAt };
};
if (messages) {
  const sent = await attack({ url, table: parameterTable("xxs", 2), seed, messages, durationMs });
  console.log(JSON.stringify({ sent, ...cost() }));
  process.exit();
}
if (share) {
  for (const { cpuMs, ms } of burn()) {
    const ahead = cpuMs - share * ms;
    if (ahead > 0) await new Promise((resolve) => setTimeout(resolve, ahead / share));
  }
  console.log(JSON.stringify({ sent: {}, ...cost() }));
  process.exit();
}
const squatters = await squat(url, idle, deaf);
console.log(JSON.stringify({ idle, deaf }));
setInterval(() => squatters.ask(), 200);
setInterval(() => void squatters.keepUp(), 1000);

/** Works for a few milliseconds at a time, until the duration is over. */
function* burn() {
  while (performance.now() - startedAt < durationMs) {
    const until = performance.now() + 5;
    while (performance.now() < until);
    yield cost();
  }
}
