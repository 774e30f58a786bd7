/**
 * The compute port over the executor of this thread: the page's Web Worker, Node's worker thread, or
 * the process itself. Serves leases one after another and tells failures as reasons.
 */

import type { Abandon, Device, Lease } from "@swarmvit/shared/protocol";
import { ShardFormatError } from "@swarmvit/shared/shard";
import { UnsafeNumbersError } from "../engine/safe-numbers.ts";
import { SelfTestFailed } from "../engine/self-test.ts";
import { type GpuReason, GpuUnavailable } from "../engine/webgpu/device.ts";
import { UndecodableSample } from "../input/decode.ts";
import type { BackendName, Computed, ComputePort, LeaseProgress } from "./compute-port.ts";
import { DownloadError } from "./download.ts";
import type { ChosenDevice } from "./executor-choice.ts";
import {
  frameOfLease,
  type LeasePlatform,
  NonFinite,
  type OpenRun,
  openRun,
  prefetchLease,
} from "./lease-work.ts";

/** What differs between a browser and Node. */
export interface ComputePlatform extends LeasePlatform {
  /** "Chromium 156", "node 20.20". */
  readonly platform: string;
  /** Bytes a unit may take on this device. */
  readonly memoryBytes: number;
  findDevice(backend: BackendName): Promise<ChosenDevice>;
}

/** A port that computes in this thread. */
export function openCompute(platform: ComputePlatform): ComputePort {
  let device: ChosenDevice | undefined;
  let open: OpenRun | undefined;
  let throttle = 100;
  let turn: Promise<unknown> = Promise.resolve();
  const stops = new Map<number, AbortController>();

  const stopOf = (lease: number): AbortController => {
    const stop = stops.get(lease) ?? new AbortController();
    stops.set(lease, stop);
    return stop;
  };
  const forget = (lease: number) => {
    stops.delete(lease);
    open?.made.delete(lease);
  };

  const computeLease = async (
    lease: Lease,
    tell: (progress: LeaseProgress) => void,
    signal: AbortSignal,
  ): Promise<Computed> => {
    try {
      signal.throwIfAborted();
      if (!open) throw new Error("a lease came before the run was opened");
      const frame = await frameOfLease(open, lease, platform, signal, tell, () => throttle);
      return { ok: true, frame };
    } catch (error) {
      if (open) open.held = ""; // an executor that failed may hold half of new weights
      if (signal.aborted) return { ok: false, reason: "stopped", detail: "" };
      return { ok: false, ...failureOf(error) };
    }
  };

  return {
    async probe(backend) {
      try {
        device = await platform.findDevice(backend);
      } catch (error) {
        const problem = error instanceof SelfTestFailed ? "self-test" : "no-backend";
        return { ok: false, problem, detail: messageOf(error) };
      }
      const { executor, description, deterministic, software } = device.info;
      const described: Device = {
        executor,
        description: description.slice(0, 200),
        deterministic,
        software,
        platform: platform.platform.slice(0, 100),
        memoryBytes: platform.memoryBytes,
      };
      // The first that failed is the one that a person would have expected.
      const failed = device.passedOver.find(({ wrong }) => wrong);
      return { ok: true, device: described, wrong: failed?.detail };
    },
    async open(run, origin) {
      try {
        if (!device) throw new Error("no device was probed");
        await open?.executor.close();
        open = undefined;
        open = await openRun(device, run, origin);
        const { executor } = open;
        const needs = run.sizes.map((s) => executor.plannedBytes(s.height, s.width, s.batch));
        const least = Math.min(...needs);
        if (least > platform.memoryBytes) {
          const detail = `a unit needs at least ${megabytes(least)}, the device offers ${megabytes(platform.memoryBytes)}`;
          return { ok: false, problem: "too-small", detail };
        }
        return { ok: true };
      } catch (error) {
        return { ok: false, problem: "no-backend", detail: messageOf(error) };
      }
    },
    async prefetch(lease) {
      if (open) await prefetchLease(open, lease, platform.decode, stopOf(lease.lease).signal);
    },
    compute(lease, tell) {
      const stop = stopOf(lease.lease);
      const result = turn.then(() => computeLease(lease, tell, stop.signal));
      turn = result.finally(() => forget(lease.lease));
      return result;
    },
    async stop(lease) {
      stops.get(lease)?.abort(new Error("stopped"));
      forget(lease);
    },
    async setThrottle(percent) {
      throttle = percent;
    },
    async close() {
      for (const stop of stops.values()) stop.abort(new Error("closed"));
      await turn;
      await open?.executor.close();
      open = undefined;
    },
  };
}

const REASON_OF_GPU: Readonly<Record<GpuReason, Abandon["reason"]>> = {
  "no-webgpu": "device-lost",
  "no-adapter": "device-lost",
  limits: "error",
  lost: "device-lost",
  "out-of-memory": "out-of-memory",
  invalid: "device-lost",
  "wrong-numbers": "non-finite",
};

function failureOf(error: unknown): {
  reason: Abandon["reason"];
  sample?: number;
  detail: string;
} {
  const detail = messageOf(error);
  if (error instanceof UndecodableSample)
    return { reason: "undecodable", sample: error.sample, detail };
  if (error instanceof DownloadError || error instanceof ShardFormatError)
    return { reason: "weights", detail };
  if (error instanceof UnsafeNumbersError)
    // Zeros come from a device that has lost a buffer: it is made anew.
    return { reason: error.reason === "nonfinite" ? "non-finite" : "device-lost", detail };
  if (error instanceof NonFinite) return { reason: "non-finite", detail };
  if (error instanceof GpuUnavailable) return { reason: REASON_OF_GPU[error.reason], detail };
  if (error instanceof RangeError) return { reason: "out-of-memory", detail }; // of allocation
  return { reason: "error", detail };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 2 ** 20)} MiB`;
}
