/**
 * A model of nine parameters that is trained with the real frames, sums and optimizer, so that a
 * simulated step is checked bit for bit and costs microseconds.
 */

import { encodeFrame, type FrameId, type Report } from "@swarmvit/shared/frame";
import type { ParameterTable } from "@swarmvit/shared/parameters";
import type { Unit } from "@swarmvit/shared/planner";
import { hash32 } from "@swarmvit/shared/random";

const tensor = (name: string, shape: number[], kind: "linear" | "bias", offset: number) => ({
  name,
  shape,
  kind,
  offset,
  size: shape.reduce((product, n) => product * n, 1),
});

export const TINY_TABLE: ParameterTable = {
  variant: "xxs",
  classes: 3,
  parameters: [tensor("fc.weight", [3, 2], "linear", 0), tensor("fc.bias", [3], "bias", 6)],
  statistics: [
    { name: "bn.running_mean", shape: [1], kind: "bn_mean", offset: 0, size: 1 },
    { name: "bn.running_var", shape: [1], kind: "bn_var", offset: 1, size: 1 },
  ],
  parameterCount: 9,
  statisticsCount: 2,
};

export const TINY_WEIGHTS = Float32Array.from({ length: 9 }, (_, i) => Math.fround(0.1 * (i - 4)));
export const TINY_STATISTICS = Float32Array.of(0, 1);

export interface Computed {
  readonly gradient: Float32Array;
  readonly statistics: Float32Array;
  readonly report: Report;
}

/** The contribution of a node of this level over whole units, added in tree order. */
export function computeNode(
  units: readonly Unit[],
  level: number,
  weights: Float32Array,
): Computed {
  return computeRange(units, level, 0, units.length, weights);
}

/** The frame of a lease. */
export function encodeTiny(id: FrameId, computed: Computed): Uint8Array {
  return encodeFrame(id, TINY_TABLE, computed);
}

function computeRange(
  units: readonly Unit[],
  level: number,
  first: number,
  end: number,
  weights: Float32Array,
): Computed {
  if (level === 0) return computeUnit(units[first], weights);
  const middle = first + 2 ** (level - 1);
  const left = computeRange(units, level - 1, first, Math.min(middle, end), weights);
  if (middle >= end) return left;
  const right = computeRange(units, level - 1, middle, end, weights);
  for (let i = 0; i < left.gradient.length; i++) left.gradient[i] += right.gradient[i];
  for (let i = 0; i < left.statistics.length; i++) left.statistics[i] += right.statistics[i];
  const { report: a } = left;
  const { report: b } = right;
  const report = {
    loss: a.loss + b.loss,
    top1: a.top1 + b.top1,
    top5: a.top5 + b.top5,
    computeMs: a.computeMs + b.computeMs,
  };
  return { ...left, report };
}

function computeUnit({ samples, seed }: Unit, weights: Float32Array): Computed {
  const gradient = new Float32Array(TINY_TABLE.parameterCount);
  const statistics = new Float32Array(TINY_TABLE.statisticsCount);
  let loss = 0;
  let top1 = 0;
  let top5 = 0;
  for (const sample of samples) {
    const salt = hash32(seed, sample);
    for (let j = 0; j < gradient.length; j++)
      gradient[j] += (hash32(salt, j) / 2 ** 32 - 0.5) * 3 + 0.1 * weights[j];
    statistics[0] += (salt % 1000) / 1000 - 0.5;
    statistics[1] += 1 + (salt % 100) / 100;
    loss += sample % 7;
    if (sample % 3 === 0) top1++;
    if (sample % 3 < 2) top5++;
  }
  return { gradient, statistics, report: { loss, top1, top5, computeMs: 0 } };
}
