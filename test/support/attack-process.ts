/**
 * The stranger of `attack.ts` as a process: `attack-process.ts URL JSON`. With messages it attacks and
 * ends; without, it squats until it is killed. It prints what it did, as JSON.
 */

import { parameterTable } from "@swarmvit/shared/parameters";
import { attack, squat } from "./attack.ts";

const [url, json] = process.argv.slice(2);
const { seed, messages, durationMs, idle, deaf } = JSON.parse(json);
if (messages) {
  const sent = await attack({ url, table: parameterTable("xxs", 2), seed, messages, durationMs });
  console.log(JSON.stringify(sent));
  process.exit();
}
const squatters = await squat(url, idle, deaf);
console.log(JSON.stringify({ idle, deaf }));
setInterval(() => squatters.ask(), 200);
setInterval(() => void squatters.keepUp(), 1000);
