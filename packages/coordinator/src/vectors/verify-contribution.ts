/** What is refused in a contribution beside a wrong header (DESIGN section 5, refusal). */

import { crc32 } from "node:zlib";
import { allFinite } from "@swarmvit/shared/finite";
import {
  decodeFrameGradient,
  FrameError,
  type FrameId,
  openFrame,
  type Report,
} from "@swarmvit/shared/frame";
import { BLOCK_VALUES, int8Parts, int8Places } from "@swarmvit/shared/int8";
import { nullGradients } from "@swarmvit/shared/null-gradients";
import type { ParameterTable, TensorSpec } from "@swarmvit/shared/parameters";

/** Height and width of one unit of a node. */
export interface UnitSize {
  readonly height: number;
  readonly width: number;
}

/** A contribution as the sum takes it: `int8` stays encoded until it is added. */
export interface Verified {
  readonly report: Report;
  /** In memory of its own. */
  readonly statistics: Float32Array;
  readonly gradient: Float32Array | Uint8Array;
}

/** True where values [first, end) of a tensor, counted within it, are all zero. */
type IsZero = (tensor: number, first: number, end: number) => boolean;

/** A block's largest value stays within float32, whatever its codes. */
const LARGEST_SCALE = 3.4028234663852886e38 / 128;

/** Checks all of a frame against its lease. Throws a `FrameError` with the reason's code. */
export function verifyContribution(
  frame: Uint8Array,
  expected: FrameId,
  sizes: readonly UnitSize[],
  table: ParameterTable,
): Verified {
  const opened = openFrame(frame, expected, table, crc32);
  const { report, statistics } = opened;
  if (expected.kind === "evaluation") return { report, statistics, gradient: new Float32Array(0) };
  expectFinite(statistics, table.statistics);
  let gradient: Float32Array | Uint8Array;
  let isZero: IsZero;
  if (expected.codec === "int8") {
    gradient = opened.gradient;
    isZero = openInt8(table, gradient);
  } else {
    const values = decodeFrameGradient(opened, expected, table);
    expectFinite(values, table.parameters);
    gradient = values;
    isZero = (tensor, first, end) => {
      const { offset } = table.parameters[tensor];
      return isZeroIn(values, offset + first, offset + end);
    };
  }
  if (table.parameters.every(({ size }, tensor) => isZero(tensor, 0, size)))
    throw new FrameError("ZERO", "every gradient is zero: the device computed nothing");
  for (const { name, kind, offset, size } of table.statistics) {
    if (kind !== "bn_var") continue;
    for (let i = offset; i < offset + size; i++)
      if (statistics[i] < 0) throw new FrameError("COUNTS", `${name} is negative: no variance is`);
  }
  const zero = findZeroTensor(isZero, sizes, table);
  if (zero)
    throw new FrameError("ZERO", `the gradient of ${zero} is zero: the device computed it wrongly`);
  return { report, statistics: statistics.slice(), gradient };
}

/** Checks what is float32 in an `int8` gradient; codes cannot be wrong. */
function openInt8(table: ParameterTable, gradient: Uint8Array): IsZero {
  const { scales, exact, codes } = int8Parts(table, gradient);
  const places = int8Places(table);
  table.parameters.forEach(({ name, size }, tensor) => {
    const place = places[tensor];
    const isExact = "exact" in place;
    const [values, first] = isExact ? [exact, place.exact] : [scales, place.block];
    const end = first + (isExact ? size : Math.ceil(size / BLOCK_VALUES));
    const good = isExact
      ? allFinite(values.subarray(first, end))
      : values.subarray(first, end).every((scale) => scale >= 0 && scale <= LARGEST_SCALE);
    if (!good) throw new FrameError("NON_FINITE", `${name} holds values that are not finite`);
  });
  return (tensor, first, end) => {
    const place = places[tensor];
    if ("exact" in place) return isZeroIn(exact, place.exact + first, place.exact + end);
    for (let i = first; i < end; i++)
      if (codes[place.code + i] !== 0 && scales[place.block + Math.floor(i / BLOCK_VALUES)] !== 0)
        return false;
    return true;
  };
}

function expectFinite(values: Float32Array, specs: readonly TensorSpec[]): void {
  if (allFinite(values)) return;
  const bad = specs.find((s) => !allFinite(values.subarray(s.offset, s.offset + s.size)));
  throw new FrameError("NON_FINITE", `${bad?.name} holds values that are not finite`);
}

/** A tensor that is zero wherever some unit's gradient is not null, by name. */
function findZeroTensor(
  isZero: IsZero,
  sizes: readonly UnitSize[],
  table: ParameterTable,
): string | undefined {
  // Null in a sum means null in each of its units.
  const distinct = new Map(sizes.map((size) => [`${size.height}x${size.width}`, size]));
  const nulls = [...distinct.values()].map(({ height, width }) =>
    nullGradients(table.variant, height, width),
  );
  return table.parameters.find(({ name, shape, size }, tensor) => {
    if (nulls.every(({ tensors }) => tensors.has(name))) return false;
    const row = size / shape[0];
    const ranges = nulls.map(({ rows }) => rows.get(name) ?? { first: 0, end: 0 });
    const first = Math.max(...ranges.map((range) => range.first));
    const end = Math.max(first, Math.min(...ranges.map((range) => range.end)));
    return isZero(tensor, 0, first * row) && isZero(tensor, end * row, size);
  })?.name;
}

function isZeroIn(values: Float32Array, first: number, end: number): boolean {
  for (let i = first; i < end; i++) if (values[i] !== 0) return false;
  return true;
}
