/** Vector work on a model of a few hundred numbers, and steps to feed it with. */

import { encodeFrame, type FrameId } from "@swarmvit/shared/frame";
import type { ParameterTable, TensorKind } from "@swarmvit/shared/parameters";
import { hash32 } from "@swarmvit/shared/random";
import type { StepLog } from "../../packages/coordinator/src/core/messages.ts";
import type {
  Commitment,
  Unlogged,
  VectorSetup,
  VectorWork,
} from "../../packages/coordinator/src/vectors/vector-port.ts";

export const TINY_TABLE: ParameterTable = {
  variant: "xxs",
  classes: 2,
  ...tensors("parameter", [
    ["a.weight", "linear", [12, 14]],
    ["a.bias", "bias", [14]],
    ["b.weight", "bn_gamma", [5]],
  ]),
  ...tensors("statistics", [
    ["b.running_mean", "bn_mean", [5]],
    ["b.running_var", "bn_var", [5]],
  ]),
} as ParameterTable;

export function tinySetup(codec: VectorSetup["codec"]): VectorSetup {
  return {
    variant: "xxs",
    classes: ["a", "b"],
    codec,
    recipe: "small",
    weightDecay: 0.01,
    checkpointDirectory: "/run/checkpoints",
    logDirectory: "/run/wal",
  };
}

/** Values in ±1/2 without zeros, of a seed. */
export function tinyVector(seed: number, length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => ((hash32(seed, i) >>> 8) + 0.5) / 2 ** 24 - 0.5);
}

export function initializeTiny(work: VectorWork) {
  work.initialize(
    tinyVector(1, TINY_TABLE.parameterCount),
    tinyVector(2, TINY_TABLE.statisticsCount).map(Math.abs),
  );
}

/** Two units of pseudo-gradients: verified, added and committed as step `step` (from 0). */
export async function commitTiny(
  work: VectorWork,
  codec: VectorSetup["codec"],
  step: number,
  seed: number,
  from: string,
): Promise<Commitment | Unlogged> {
  for (const index of [0, 1]) {
    const id: FrameId = {
      ...{ run: "0123456789abcdef", kind: "gradient", codec, step, level: 0, index },
      ...{ samples: 2, lease: index, token: "00112233445566778899aabbccddeeff" },
    };
    const frame = encodeFrame(id, TINY_TABLE, {
      report: { loss: 1, top1: 0, top5: 2, computeMs: 1 },
      statistics: tinyVector(seed + index, TINY_TABLE.statisticsCount).map(Math.abs),
      gradient: tinyVector(seed + index, TINY_TABLE.parameterCount),
    });
    const result = work.verify(frame, id, [{ height: 64, width: 64 }]);
    if (!result.ok) throw new Error(result.detail);
  }
  const root = { level: 1, index: 0 };
  work.add(step, root, { level: 0, index: 0 }, { level: 0, index: 1 });
  return retryTiny(work, step, from);
}

/** The commit alone: what a core asks for again after a refusal. */
export function retryTiny(work: VectorWork, step: number, from: string) {
  return work.commit(step, { level: 1, index: 0 }, 4, 0.01, logOf(step, from), true);
}

function logOf(step: number, from: string): StepLog {
  return {
    core: { schema: 1, step: step + 1, struck: [], evaluatedAt: 0, fence: 1 },
    record: {
      ...{ kind: "step", step: step + 1, epoch: 0, time: step, loss: 1, top1: 0, lr: 0.01 },
      ...{ samples: 4, images_per_second: 1, seconds: 1, workers: 1, bytes_in: 0, bytes_out: 0 },
      ...{ resolutions: {}, weights: from },
    },
    cursor: 4 * (step + 1),
    leases: [{ lease: step, volunteer: "v", level: 1, index: 0 }],
  };
}

function tensors(
  what: "parameter" | "statistics",
  list: readonly (readonly [string, TensorKind, readonly number[]])[],
) {
  let offset = 0;
  const specs = list.map(([name, kind, shape]) => {
    const size = shape.reduce((a, b) => a * b, 1);
    offset += size;
    return { name, kind, shape, offset: offset - size, size };
  });
  return { [what === "parameter" ? "parameters" : what]: specs, [`${what}Count`]: offset };
}
