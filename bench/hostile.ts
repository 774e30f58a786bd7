/**
 * A real coordinator under fire: 100,000 random and mutated messages, frames, packets and bytes on
 * real sockets, then 500 idle sockets and 200 that never read, while honest volunteers work. Calm and
 * fire alternate in one run, so that the ratio holds on a machine that does other things too.
 *
 *   npx tsx bench/hostile.ts [messages] [seed]
 */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parameterTable } from "@swarmvit/shared/parameters";
import { connectTo } from "../test/support/cluster.ts";
import type { Measured } from "../test/support/cluster-process.ts";
import { servePaced } from "../test/support/paced-volunteer.ts";
import { openSwarm } from "../test/support/swarm.ts";

const [messages = 100_000, seed = 1] = process.argv.slice(2).map(Number);
const HONEST = 4;
const PACE_MS = 600;
const WINDOW_MS = 20_000;
const MiB = 2 ** 20;

const swarm = await openSwarm({ epochs: 100_000, maxSteps: 100_000 });
const honest = connectTo(swarm.url, parameterTable("xxs", 2));
for (let i = 0; i < HONEST; i++) {
  const volunteer = await honest.join();
  volunteer.want(1);
  void servePaced(volunteer, PACE_MS);
}
await swarm.stepsReach(3);

/** Steps a second while something goes on for at least `WINDOW_MS`: from the first commit to the last. */
async function rateDuring(what: () => Promise<void>): Promise<number> {
  const first = swarm.steps.length;
  await Promise.all([what(), new Promise((resolve) => setTimeout(resolve, WINDOW_MS))]);
  const times = swarm.steps.slice(first).map(({ time }) => time);
  return (1000 * (times.length - 1)) / (times[times.length - 1] - times[0]);
}

const script = fileURLToPath(new URL("../test/support/attack-process.ts", import.meta.url));
const startStranger = (options: object) =>
  spawn(process.execPath, ["--import", "tsx", script, swarm.url, JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
const sent: Record<string, number> = {};
/** The part of a core that the attackers took themselves, in each round. */
const shares: number[] = [];
let round = 0;

interface Strange {
  readonly sent: Readonly<Record<string, number>>;
  readonly cpuMs: number;
  readonly ms: number;
}

async function ended(options: object): Promise<Strange> {
  const child = startStranger(options);
  let text = "";
  child.stdout.on("data", (part: Buffer) => {
    text += part;
  });
  const code = await new Promise((resolve) => child.once("exit", resolve));
  if (code !== 0) throw new Error(`the stranger ended with ${code}`);
  return JSON.parse(text);
}

async function fire(): Promise<void> {
  const did = await ended({
    seed: seed + round++,
    messages: Math.ceil(messages / 2),
    durationMs: WINDOW_MS,
  });
  for (const [kind, n] of Object.entries(did.sent)) sent[kind] = (sent[kind] ?? 0) + n;
  shares.push(did.cpuMs / did.ms);
}
/** The attacker's own work, without a message: two cores are shared by all. */
const burn = async () => void (await ended({ share: shares.at(-1), durationMs: WINDOW_MS }));
const calm = async () => {};
const delayOf = ({ delayMs }: Measured) =>
  `p50 ${delayMs.p50.toFixed(1)}, p99 ${delayMs.p99.toFixed(1)}, longest ${delayMs.max.toFixed(0)} ms`;
const show = (name: string, value: string) => console.log(`${name.padEnd(34)}${value}`);

await rateDuring(calm); // warm-up: what a working coordinator takes is no growth
const start = await swarm.measure();
const calmRates: number[] = [];
const fireRates: number[] = [];
const burnRates: number[] = [];
const calmMeasured: Measured[] = [];
const fireMeasured: Measured[] = [];
for (let i = 0; i < 2; i++) {
  calmRates.push(await rateDuring(calm));
  calmMeasured.push(await swarm.measure());
  fireRates.push(await rateDuring(fire));
  fireMeasured.push(await swarm.measure());
  burnRates.push(await rateDuring(burn));
  await swarm.measure();
}
calmRates.push(await rateDuring(calm));
await swarm.measure();

const squatter = startStranger({ seed, idle: 500, deaf: 200 });
await new Promise((resolve) => squatter.stdout.once("data", resolve));
const squatRate = await rateDuring(calm);
const squatMeasured = await swarm.measure();
squatter.kill("SIGKILL");
calmRates.push(await rateDuring(calm));
const end = await swarm.measure();

const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x) / values.length;
const percent = (rate: number, of: number) => `${((100 * rate) / of).toFixed(1)} %`;
show("honest volunteers", `${HONEST}, ${PACE_MS} ms a unit, 4 units a step`);
show("sent", JSON.stringify(sent));
show("steps/s, calm", calmRates.map((rate) => rate.toFixed(3)).join(" "));
show("steps/s, under fire", fireRates.map((rate) => rate.toFixed(3)).join(" "));
show("  share of the calm around it", percent(mean(fireRates), mean(calmRates.slice(0, 3))));
show("the attacker's own share of a core", shares.map((share) => share.toFixed(2)).join(" "));
show("steps/s, that burnt, nothing sent", burnRates.map((rate) => rate.toFixed(3)).join(" "));
show("  share of the calm around it", percent(mean(burnRates), mean(calmRates.slice(0, 3))));
show("under fire, of what is left so", percent(mean(fireRates), mean(burnRates)));
show("steps/s, 500 idle and 200 deaf", squatRate.toFixed(3));
show("  share of the calm around it", percent(squatRate, mean(calmRates.slice(2))));
const growth = (now: Measured) =>
  `${((now.heapBytes - start.heapBytes) / MiB).toFixed(1)} MiB in use, ${((now.rssBytes - start.rssBytes) / MiB).toFixed(1)} resident`;
for (const now of fireMeasured) show("memory grown after the fire", growth(now));
show("  with the idle and the deaf", growth(squatMeasured));
show("  at the end", growth(end));
for (const now of calmMeasured) show("event loop, calm", delayOf(now));
for (const now of fireMeasured) show("event loop, under fire", delayOf(now));
show("event loop, idle and deaf", delayOf(squatMeasured));
const text = await (await fetch(`${swarm.url}/metrics`)).text();
const refused = [...text.matchAll(/^swarmvit_refusals_total\{code="(\w+)"\} (\d+)$/gm)]
  .filter(([, , n]) => n !== "0")
  .map(([, code, n]) => `${code} ${n}`);
show("refused", refused.join(", "));
const ordered = swarm.steps.every(({ step, samples }, i) => step === i + 1 && samples === 8);
show(
  "steps",
  `${swarm.steps.length}, ${ordered ? "each once, in order, of 8 samples" : "NOT IN ORDER"}`,
);
honest.close();
await swarm.close();
