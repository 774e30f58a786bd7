/**
 * `/metrics` in Prometheus' text format, written by hand: a dozen families do not need a library that
 * keeps registries. Counts are of this process unless the name says `run`.
 */

import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import type { MetricRecord, RunState } from "@swarmvit/shared/run";
import type { Refusals } from "./refusals.ts";

export interface MetricsSources {
  readonly refusals: Refusals;
  state(): RunState;
  /** Sockets open, and bytes of frames on their way in. */
  sockets(): number;
  uploadBytes(): number;
}

export interface Metrics {
  /** Every record of the run passes here. */
  observe(record: MetricRecord): void;
  text(): string;
  close(): void;
}

/** Upper ends of the step's duration, in seconds. */
const STEP_BUCKETS = [0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];
/** The delay is told of the minute behind; a histogram of hours would hide it. */
const DELAY_WINDOW_MS = 60_000;
const DELAY_RESOLUTION_MS = 10;

/** Starts to measure. */
export function openMetrics(sources: MetricsSources): Metrics {
  const delay = openDelayWindow();
  const durations = STEP_BUCKETS.map(() => 0);
  let steps = 0;
  let samples = 0;
  let seconds = 0;

  return {
    observe(record) {
      if (record.kind !== "step") return;
      steps++;
      samples += record.samples;
      seconds += record.seconds;
      for (const [i, most] of STEP_BUCKETS.entries()) if (record.seconds <= most) durations[i]++;
    },

    text() {
      const state = sources.state();
      const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
      const leases = state.volunteers.reduce((sum, { leases }) => sum + leases, 0);
      const connected = state.volunteers.filter(({ connected }) => connected).length;
      return [
        family("refusals_total", "counter", "What was refused, by code.", [
          ...[...sources.refusals.counts].map(([code, n]) => sample(n, { code })),
        ]),
        family("steps_total", "counter", "Steps committed.", [sample(steps)]),
        family("samples_total", "counter", "Samples of the steps committed.", [sample(samples)]),
        family("step_seconds", "histogram", "From a step's first lease to its commit.", [
          ...STEP_BUCKETS.map((most, i) => sample(durations[i], { le: most }, "_bucket")),
          sample(steps, { le: "+Inf" }, "_bucket"),
          sample(seconds, {}, "_sum"),
          sample(steps, {}, "_count"),
        ]),
        family("run_step", "gauge", "Steps of the run behind.", [sample(state.step)]),
        family("run_steps", "gauge", "Steps of the whole run.", [sample(state.totalSteps)]),
        family("run_bytes_in_total", "counter", "Bytes received, of all connections.", [
          sample(state.bytesIn),
        ]),
        family("run_bytes_out_total", "counter", "Bytes sent, of all connections.", [
          sample(state.bytesOut),
        ]),
        family("loss", "gauge", "Mean loss of the last step.", [sample(state.loss)]),
        family("volunteers", "gauge", "Volunteers connected.", [sample(connected)]),
        family("leases", "gauge", "Leases being computed.", [sample(leases)]),
        family("sockets", "gauge", "Sockets open.", [sample(sources.sockets())]),
        family("upload_bytes", "gauge", "Bytes of frames on their way in.", [
          sample(sources.uploadBytes()),
        ]),
        family(
          "event_loop_delay_seconds",
          "gauge",
          "Of the last minute, by quantile; 1: the worst.",
          [...delay.quantiles().map(([quantile, value]) => sample(value, { quantile }))],
        ),
        family("memory_bytes", "gauge", "Memory of the process.", [
          ...Object.entries({ rss, heapUsed, external, arrayBuffers }).map(([kind, bytes]) =>
            sample(bytes, { kind }),
          ),
        ]),
      ].join("");
    },

    close: delay.close,
  };
}

interface Sample {
  readonly value: number | undefined;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly suffix: string;
}

function sample(value: number | undefined, labels: Sample["labels"] = {}, suffix = ""): Sample {
  return { value, labels, suffix };
}

/** A family with its help; a sample without a value is left out. */
function family(
  name: string,
  type: "counter" | "gauge" | "histogram",
  help: string,
  samples: readonly Sample[],
): string {
  let text = `# HELP swarmvit_${name} ${help}\n# TYPE swarmvit_${name} ${type}\n`;
  for (const { value, labels, suffix } of samples) {
    if (value === undefined) continue;
    const pairs = Object.entries(labels).map(([label, of]) => `${label}="${of}"`);
    const braces = pairs.length > 0 ? `{${pairs.join(",")}}` : "";
    text += `swarmvit_${name}${suffix}${braces} ${value}\n`;
  }
  return text;
}

/** The event loop's delay over the window before and the one that runs. */
function openDelayWindow() {
  let before: IntervalHistogram | undefined;
  let now = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });
  now.enable();
  const turn = setInterval(() => {
    before?.disable();
    before = now;
    before.disable();
    now = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });
    now.enable();
  }, DELAY_WINDOW_MS);
  turn.unref();
  const secondsAt = (percentile: number) => {
    const of = (histogram: IntervalHistogram | undefined) =>
      histogram && histogram.count > 0 ? histogram.percentile(percentile) : 0;
    // What is measured is the time between two looks: its resolution is no delay.
    const nanoseconds = Math.max(of(before), of(now)) - DELAY_RESOLUTION_MS * 1e6;
    return Math.max(0, nanoseconds) / 1e9;
  };
  return {
    quantiles: (): [string, number][] => [
      ["0.5", secondsAt(50)],
      ["0.99", secondsAt(99)],
      ["1", secondsAt(100)],
    ],
    close() {
      clearInterval(turn);
      now.disable();
    },
  };
}
