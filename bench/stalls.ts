/**
 * What held up the event loop of this process: a timer that comes late marks a stall, and says how much
 * of it the thread computed, waited for a processor, collected garbage, and in which functions it was.
 */

import { readFileSync } from "node:fs";
import { type Profiler, Session } from "node:inspector";
import { monitorEventLoopDelay, PerformanceObserver } from "node:perf_hooks";

export interface Stall {
  /** Milliseconds that the loop was late, and the parts of it in which its thread ran or wanted to. */
  readonly ms: number;
  readonly ranMs: number;
  readonly waitedMs: number;
  readonly collectedMs: number;
  /** Milliseconds by function, the outermost of this project and the innermost; only when profiled. */
  readonly where: readonly string[];
}

export interface Stalls {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly mostRanMs: number;
  readonly stalls: readonly Stall[];
}

export interface StallWatch {
  /**
   * Delays since the last call in milliseconds, the most that the thread ran in any of them, and the
   * longest stalls, longest first. Collecting the profile stops the loop itself.
   */
  take(): Promise<Stalls>;
}

const EVERY_MS = 2;
/** Shorter delays are no stalls. */
const STALL_MS = 15;
const SHOWN = 6;

interface Window {
  readonly from: number;
  readonly to: number;
  readonly ranMs: number;
  readonly waitedMs: number;
}

/** Begins to watch; `why` samples functions as well, which costs a few per cent. */
export async function watchStalls(why: boolean): Promise<StallWatch> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const collections: { from: number; to: number }[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries())
      collections.push({ from: startTime, to: startTime + duration });
  });
  observer.observe({ entryTypes: ["gc"] });
  let windows: Window[] = [];
  let mostRanMs = 0;
  let at = performance.now();
  let used = scheduled();
  setInterval(() => {
    const now = performance.now();
    const [before, usedNow] = [used, scheduled()];
    const [ranMs, waitedMs] = [usedNow.ranMs - before.ranMs, usedNow.waitedMs - before.waitedMs];
    mostRanMs = Math.max(mostRanMs, ranMs);
    if (now - at - EVERY_MS >= STALL_MS) {
      windows.push({ from: at, to: now, ranMs, waitedMs });
    }
    at = now;
    used = usedNow;
  }, EVERY_MS).unref();
  const profiler = why ? await openProfiler() : undefined;
  delay.enable();

  return {
    async take() {
      await new Promise((resolve) => setTimeout(resolve, 20)); // collections are told a turn later
      const ms = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - 1);
      const [p50, p99, max] = [delay.percentile(50), delay.percentile(99), delay.max].map(ms);
      const longest = windows.toSorted((a, b) => length(b) - length(a)).slice(0, SHOWN);
      const profile = await profiler?.take();
      const ran = mostRanMs;
      const stalls = longest.map((window): Stall => {
        const overlap = ({ from, to }: { from: number; to: number }) =>
          Math.max(0, Math.min(to, window.to) - Math.max(from, window.from));
        const collectedMs = collections.reduce((sum, one) => sum + overlap(one), 0);
        const where = profile ? functionsOf(profile, window) : [];
        const { ranMs, waitedMs } = window;
        return { ms: length(window), ranMs, waitedMs, collectedMs, where };
      });
      windows = [];
      mostRanMs = 0;
      collections.length = 0;
      at = performance.now();
      used = scheduled();
      delay.reset();
      return { p50, p99, max, mostRanMs: ran, stalls };
    },
  };
}

/** A stall in one line. */
export function describeStall({ ms, ranMs, waitedMs, collectedMs, where }: Stall): string {
  const [all, ran, waited, collected] = [ms, ranMs, waitedMs, collectedMs].map((x) => x.toFixed(0));
  return `${all} ms: ran ${ran}, waited for a processor ${waited}, collected ${collected}${where.map((line) => `\n      ${line}`).join("")}`;
}

function length({ from, to }: Window): number {
  return to - from - EVERY_MS;
}

/** Milliseconds that this thread has run, and has been ready without a processor; zeros where the system does not say. */
function scheduled(): { ranMs: number; waitedMs: number } {
  try {
    const [ran, waited] = readFileSync("/proc/self/schedstat", "utf8").split(" ").map(Number);
    return { ranMs: ran / 1e6, waitedMs: waited / 1e6 };
  } catch {
    return { ranMs: 0, waitedMs: 0 };
  }
}

async function openProfiler() {
  const session = new Session();
  session.connect();
  const post = (method: string, params: object = {}) =>
    new Promise<{ profile: Profiler.Profile }>((resolve, reject) => {
      session.post(method, params, (error, result) =>
        error ? reject(error) : resolve(result as { profile: Profiler.Profile }),
      );
    });
  await post("Profiler.enable");
  await post("Profiler.setSamplingInterval", { interval: 500 });
  await post("Profiler.start");
  return {
    async take() {
      const { profile } = await post("Profiler.stop");
      await post("Profiler.start");
      return profile;
    },
  };
}

/** Samples are on the monotonic clock, microseconds; `performance.now()` begins at `startedAt` of it. */
function functionsOf(profile: Profiler.Profile, window: Window): string[] {
  const startedAt = Number(process.hrtime.bigint()) / 1e6 - performance.now();
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map<number, number>();
  for (const node of profile.nodes)
    for (const child of node.children ?? []) parents.set(child, node.id);
  const nameOf = (id: number) => {
    const { functionName, url, lineNumber } = (nodes.get(id) as Profiler.ProfileNode).callFrame;
    return `${functionName || "(anonymous)"} ${url.split("/").slice(-2).join("/")}:${lineNumber + 1}`;
  };
  const stackOf = (id: number): string[] => {
    const names: string[] = [];
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at))
      names.push(nameOf(at));
    return names;
  };
  const sums = new Map<string, number>();
  let time = profile.startTime;
  profile.samples?.forEach((id, i) => {
    const took = profile.timeDeltas?.[i] ?? 0;
    time += took;
    const ms = time / 1000 - startedAt;
    if (ms < window.from || ms > window.to) return;
    const stack = stackOf(id);
    const ours = stack.findLast((name) => /src\/|server\/|core\//.test(name)) ?? "";
    const outer = stack.at(-2) ?? "";
    for (const name of new Set([`self ${stack[0]}`, `ours ${ours}`, `from ${outer}`]))
      sums.set(name, (sums.get(name) ?? 0) + took / 1000);
  });
  return [...sums]
    .sort(([, a], [, b]) => b - a)
    .filter(([, ms]) => ms >= 2)
    .slice(0, 14)
    .map(([name, ms]) => `${ms.toFixed(1)} ms ${name}`);
}

/** The delays in one line. */
export function describeDelays({ p50, p99, max, mostRanMs }: Stalls): string {
  return `p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)}, longest ${max.toFixed(0)} ms; the thread ran at most ${mostRanMs.toFixed(0)} ms on end`;
}
