/** Contributions that need no engine: a fixed pseudo-gradient of each unit, summed in tree order. */

import type { Contribution, FrameId } from "@swarmvit/shared/frame";
import { encodeFrame } from "@swarmvit/shared/frame";
import type { ParameterTable } from "@swarmvit/shared/parameters";
import type { Unit } from "@swarmvit/shared/planner";
import type { Lease } from "@swarmvit/shared/protocol";
import { hash32 } from "@swarmvit/shared/random";

/** What a volunteer that computed correctly would send: a function of the lease's units alone. */
export function contributionOf(lease: Lease, table: ParameterTable, computeMs = 1): Contribution {
  const report = { loss: lease.samples, top1: 1, top5: lease.samples, computeMs };
  if (lease.kind === "evaluation")
    return { report, statistics: new Float32Array(0), gradient: new Float32Array(0) };
  const gradient = sumInTree(lease.units, (unit) => vectorOf(unit, table.parameterCount, 1e-3));
  const statistics = sumInTree(lease.units, (unit) =>
    vectorOf(unit, table.statisticsCount, 1).map((x) => Math.abs(x) * unit.samples.length),
  );
  return { report, statistics, gradient };
}

export function frameIdOf(lease: Lease, run: string): FrameId {
  const { kind, codec, step, level, index, samples, token } = lease;
  return { run, kind, codec, step, level, index, samples, lease: lease.lease, token };
}

export function frameOf(
  lease: Lease,
  run: string,
  table: ParameterTable,
  computeMs?: number,
): Uint8Array {
  return encodeFrame(frameIdOf(lease, run), table, contributionOf(lease, table, computeMs));
}

function sumInTree(units: readonly Unit[], vectorOf: (unit: Unit) => Float32Array): Float32Array {
  if (units.length === 1) return vectorOf(units[0]);
  let half = 1;
  while (half * 2 < units.length) half *= 2;
  const sum = sumInTree(units.slice(0, half), vectorOf);
  const right = sumInTree(units.slice(half), vectorOf);
  for (let i = 0; i < sum.length; i++) sum[i] += right[i];
  return sum;
}

/** Values in ±scale/2 without zeros. */
function vectorOf(unit: Unit, length: number, scale: number): Float32Array {
  const vector = new Float32Array(length);
  let x = hash32(unit.seed, unit.samples[0]) | 1;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    vector[i] = (((x >>> 8) + 0.5) / 2 ** 24 - 0.5) * scale;
  }
  return vector;
}
