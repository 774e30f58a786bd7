/**
 * The multi-scale variable-batch sampler's table of sizes (SPEC section 4, MobileViT paper section
 * 3.3): larger images come in smaller batches, so that a unit costs about the same at every size.
 */

import { uniform } from "./random.ts";

export interface SizeTuple {
  readonly height: number;
  readonly width: number;
  /** Samples of a unit at this size. */
  readonly batch: number;
}

export interface ScaleSpec {
  /** Base size: the one at which a unit holds `unitSize` samples. */
  readonly baseHeight: number;
  readonly baseWidth: number;
  readonly unitSize: number;
  readonly minHeight: number;
  readonly maxHeight: number;
  readonly minWidth: number;
  readonly maxWidth: number;
  readonly count: number;
  readonly divisor: number;
  /**
   * `formula` is the paper's text, b·H·W/(h·w), as ml-cvnets main has it. `floor` is the released
   * code of the paper: never below the base batch, made divisible by `replicas`.
   */
  readonly semantics: "formula" | "floor";
  /** Processes of the paper's run; only `floor` reads it. */
  readonly replicas?: number;
}

/** Rounds to a multiple of `divisor`, never below 0.9 of the value (SPEC section 4). */
export function makeDivisible(value: number, divisor: number): number {
  const rounded = Math.max(
    divisor,
    Math.floor(Math.trunc(value + divisor / 2) / divisor) * divisor,
  );
  return rounded < 0.9 * value ? rounded + divisor : rounded;
}

/** The table of (height, width, batch), smallest first, without duplicates. */
export function sizeTable(spec: ScaleSpec): SizeTuple[] {
  const heights = dimensions(spec.baseHeight, spec.minHeight, spec.maxHeight, spec);
  const widths = dimensions(spec.baseWidth, spec.minWidth, spec.maxWidth, spec);
  const table = new Map<string, SizeTuple>();
  for (let i = 0; i < Math.min(heights.length, widths.length); i++) {
    const height = heights[i];
    const width = widths[i];
    const batch = batchAt(spec, height, width);
    table.set(`${height}x${width}x${batch}`, { height, width, batch });
  }
  return [...table.values()].sort(
    (a, b) => a.height - b.height || a.width - b.width || a.batch - b.batch,
  );
}

/** Draws a row of the table with the random stream (seed, index). */
export function drawSize(table: readonly SizeTuple[], seed: number, index: number): SizeTuple {
  return table[Math.floor(uniform(seed, index) * table.length)];
}

function dimensions(base: number, low: number, high: number, spec: ScaleSpec): number[] {
  const values = new Set<number>();
  for (let i = 0; i < spec.count; i++)
    values.add(spec.count === 1 ? low : low + (i * (high - low)) / (spec.count - 1));
  values.add(base);
  return [...values].map((value) => makeDivisible(value, spec.divisor)).sort((a, b) => a - b);
}

function batchAt(spec: ScaleSpec, height: number, width: number): number {
  const exact = (spec.baseHeight * spec.baseWidth * spec.unitSize) / (height * width);
  const batch = Math.trunc(Math.round(exact * 100) / 100); // truncation after rounding to 2 decimals
  if (spec.semantics === "formula") return Math.max(1, batch);
  return makeDivisible(Math.max(spec.unitSize, batch), spec.replicas ?? 1);
}
