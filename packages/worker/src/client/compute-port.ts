/**
 * What the volunteer asks of the thread that computes. The same interface is answered in the
 * process itself, by a Web Worker and by a Node worker thread; everything in it can be cloned.
 */

import type { Abandon, Device, Lease, RunInfo } from "@swarmvit/shared/protocol";

/**
 * What a person may ask for; `auto` takes the GPU where there is one. `wasm-relaxed` is never chosen by
 * itself: its bits depend on the processor, and the run records who computed with it.
 */
export const BACKENDS = [
  "auto",
  "webgpu",
  "wasm",
  "wasm-relaxed",
  "tfjs",
  "tfjs-webgpu",
  "tfjs-wasm",
  "tfjs-cpu",
] as const;
export type BackendName = (typeof BACKENDS)[number];

/** Where a lease is, told while it is computed. */
export interface LeaseProgress {
  readonly lease: number;
  readonly stage: "fetching" | "computing";
  /** Units done, of how many. */
  readonly done: number;
  readonly units: number;
  /** Size of the unit at hand. */
  readonly height: number;
  readonly width: number;
  /** What the last unit took: images, and milliseconds without the throttle's rest. */
  readonly samples: number;
  readonly milliseconds: number;
}

/** A finished lease: its frame, or why there is none. `stopped` was asked for and is told to nobody. */
export type Computed =
  | { readonly ok: true; readonly frame: Uint8Array }
  | {
      readonly ok: false;
      readonly reason: Abandon["reason"] | "stopped";
      readonly sample?: number;
      readonly detail: string;
    };

/** Why a device cannot take part, as an answer and not an exception: it must cross a thread. */
export type Opened<T> =
  | ({ readonly ok: true } & T)
  | { readonly ok: false; readonly problem: string; readonly detail: string };

export interface ComputePort {
  /**
   * Finds a device and tests it, without the run's model. The problem is an id of `problems.ts`. `wrong`
   * says what a better device did at its self-test, for which it was passed over.
   */
  probe(
    backend: BackendName,
  ): Promise<Opened<{ readonly device: Device; readonly wrong?: string }>>;
  /** Makes the executor of this run's model; downloads start at `origin`. Call after `probe`. */
  open(run: RunInfo, origin: string): Promise<Opened<object>>;
  /** Downloads what a lease needs, ahead of its turn. Never fails: `compute` tells. */
  prefetch(lease: Lease): Promise<void>;
  /** Computes a lease to its frame. Calls are served one after another. */
  compute(lease: Lease, onProgress: (progress: LeaseProgress) => void): Promise<Computed>;
  /** Stops a lease before its next unit, whether it is at work or waits its turn. */
  stop(lease: number): Promise<void>;
  /** Share of the time to compute, 10 to 100 percent; from the next unit on. */
  setThrottle(percent: number): Promise<void>;
  close(): Promise<void>;
}

/** A port and the life of the thread behind it. */
export interface ComputeThread {
  readonly port: ComputePort;
  /** Resolves with what happened if the thread dies by itself; its pending calls are never answered. */
  readonly died: Promise<Error>;
  terminate(): Promise<void>;
}
