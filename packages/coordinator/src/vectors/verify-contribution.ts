/** What is refused in a contribution beside a wrong header (DESIGN section 5, refusal). */

import { type Contribution, decodeFrame, FrameError, type FrameId } from "@swarmvit/shared/frame";
import { nullGradients } from "@swarmvit/shared/null-gradients";
import type { ParameterTable } from "@swarmvit/shared/parameters";
import { allFinite } from "../core/average.ts";

/** Height and width of one unit of a node. */
export interface UnitSize {
  readonly height: number;
  readonly width: number;
}

/** Decodes a frame and checks all of it against its lease. Throws a `FrameError` with the reason's code. */
export function verifyContribution(
  frame: Uint8Array,
  expected: FrameId,
  sizes: readonly UnitSize[],
  table: ParameterTable,
): Contribution {
  const contribution = decodeFrame(frame, expected, table);
  if (expected.kind === "evaluation") return contribution;
  const { gradient, statistics } = contribution;
  for (const [vector, specs] of [
    [gradient, table.parameters],
    [statistics, table.statistics],
  ] as const) {
    if (allFinite(vector)) continue;
    const bad = specs.find((s) => !allFinite(vector.subarray(s.offset, s.offset + s.size)));
    throw new FrameError("NON_FINITE", `${bad?.name} holds values that are not finite`);
  }
  if (isZero(gradient, 0, gradient.length))
    throw new FrameError("ZERO", "every gradient is zero: the device computed nothing");
  for (const { name, kind, offset, size } of table.statistics) {
    if (kind !== "bn_var") continue;
    for (let i = offset; i < offset + size; i++)
      if (statistics[i] < 0) throw new FrameError("COUNTS", `${name} is negative: no variance is`);
  }
  const zero = findZeroTensor(gradient, sizes, table);
  if (zero)
    throw new FrameError("ZERO", `the gradient of ${zero} is zero: the device computed it wrongly`);
  return contribution;
}

/** A tensor that is zero wherever some unit's gradient is not null, by name. */
function findZeroTensor(
  gradient: Float32Array,
  sizes: readonly UnitSize[],
  table: ParameterTable,
): string | undefined {
  // Null in a sum means null in each of its units.
  const distinct = new Map(sizes.map((size) => [`${size.height}x${size.width}`, size]));
  const nulls = [...distinct.values()].map(({ height, width }) =>
    nullGradients(table.variant, height, width),
  );
  for (const { name, shape, offset, size } of table.parameters) {
    if (nulls.every(({ tensors }) => tensors.has(name))) continue;
    const row = size / shape[0];
    const ranges = nulls.map(({ rows }) => rows.get(name) ?? { first: 0, end: 0 });
    const first = Math.max(...ranges.map((range) => range.first));
    const end = Math.max(first, Math.min(...ranges.map((range) => range.end)));
    if (
      isZero(gradient, offset, offset + first * row) &&
      isZero(gradient, offset + end * row, offset + size)
    )
      return name;
  }
  return undefined;
}

function isZero(values: Float32Array, first: number, end: number): boolean {
  for (let i = first; i < end; i++) if (values[i] !== 0) return false;
  return true;
}
