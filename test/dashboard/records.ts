/** Records with only what a test says; the rest is plausible. */

import type { EvalRecord, EventRecord, StepRecord } from "@swarmvit/shared/run";

export function stepRecord(step: number, part: Partial<StepRecord> = {}): StepRecord {
  return {
    ...{ kind: "step", step, epoch: 0, time: 1000 * step, loss: 2, top1: 0.1, lr: 0.001 },
    ...{ grad_norm: 1, samples: 64, images_per_second: 50, seconds: 1, workers: 2 },
    ...{ resolutions: { "64x64": 4 }, bytes_in: 100, bytes_out: 200, weights: "0".repeat(64) },
    ...part,
  };
}

export function evalRecord(step: number, part: Partial<EvalRecord> = {}): EvalRecord {
  return {
    ...{ kind: "eval", step, time: 1000 * step, top1: 0.5, top5: 0.9, loss: 1 },
    ...{ top1_raw: 0.4, samples: 200, ...part },
  };
}

export function eventRecord(step: number, what: string): EventRecord {
  return { kind: "event", step, time: 1000 * step, what };
}
