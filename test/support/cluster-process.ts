/**
 * A cluster in a process of its own, to be killed or measured: `tsx cluster-process.ts DIRECTORY
 * SETTINGS`. It prints its address; to a parent that listens it tells each step, and answers "measure".
 */

import { monitorEventLoopDelay } from "node:perf_hooks";
import type { StepRecord } from "@swarmvit/shared/run";
import { openCluster } from "./cluster.ts";

/** What the process tells its parent. */
export type ClusterMessage =
  | { readonly kind: "step"; readonly step: StepRecord }
  | { readonly kind: "measured"; readonly measured: Measured };

/** Of the process, garbage collected; the delay since it was asked last. */
export interface Measured {
  readonly heapBytes: number;
  readonly rssBytes: number;
  /** Of the event loop, milliseconds. */
  readonly delayMs: { readonly p50: number; readonly p99: number; readonly max: number };
}

/** Between two looks at the event loop: no delay in itself. */
const RESOLUTION_MS = 5;

const [directory, settings] = process.argv.slice(2);
const cluster = await openCluster({ directory, ...JSON.parse(settings) });
console.log(cluster.coordinator.url);

if (process.send) {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  const tell = (message: ClusterMessage) => process.send?.(message);
  cluster.coordinator.onRecord((record) => {
    if (record.kind === "step") tell({ kind: "step", step: record });
  });
  process.on("message", () => {
    const ms = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
    const delayMs = {
      p50: ms(delay.percentile(50)),
      p99: ms(delay.percentile(99)),
      max: ms(delay.max),
    };
    globalThis.gc?.();
    globalThis.gc?.();
    const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
    tell({
      kind: "measured",
      measured: { heapBytes: heapUsed + arrayBuffers, rssBytes: rss, delayMs },
    });
    // Collecting stops the loop itself; that delay is noted at the next look.
    setTimeout(() => delay.reset(), 10 * RESOLUTION_MS);
  });
  process.on("disconnect", () => process.exit());
}
