/** Commands between error scopes: whatever goes wrong on a device becomes a GpuUnavailable. */

import { GpuUnavailable } from "./device.ts";

/** From the inside out: what an earlier one catches, a later one does not see. */
const SCOPES = [
  ["internal", "invalid"],
  ["out-of-memory", "out-of-memory"],
  ["validation", "invalid"],
] as const;

export interface Guard {
  /** Runs `work` between error scopes. Rejects with GpuUnavailable if the device complained or is lost. */
  run<T>(work: () => Promise<T>): Promise<T>;
}

/** Watches a device from now on. */
export function createGuard(device: GPUDevice): Guard {
  let lost: GpuUnavailable | undefined;
  void device.lost.then(({ reason, message }) => {
    lost = new GpuUnavailable("lost", `the GPU was lost (${reason}): ${message}`);
  });
  const pop = async (): Promise<GpuUnavailable | undefined> => {
    // All are popped before any is awaited: a lost device may answer none of them in order.
    const errors = SCOPES.map(([, reason]) => ({
      reason,
      error: device.popErrorScope(),
    })).reverse();
    let told: GpuUnavailable | undefined;
    for (const { reason, error } of errors) {
      const complaint = await error;
      if (complaint) told ??= new GpuUnavailable(reason, complaint.message);
    }
    return told;
  };
  return {
    async run(work) {
      if (lost) throw lost;
      for (const [filter] of SCOPES) device.pushErrorScope(filter);
      let result: Awaited<ReturnType<typeof work>>;
      try {
        result = await work();
      } catch (error) {
        // Some devices tell a read-back long before `lost`.
        if (error instanceof GpuUnavailable && error.reason === "lost") lost ??= error;
        const told = await pop().catch(() => undefined);
        throw lost ?? told ?? error;
      }
      const told = await pop();
      if (lost ?? told) throw lost ?? told;
      return result;
    },
  };
}
