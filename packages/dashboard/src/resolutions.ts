/** The image sizes of a run: which units had which size, in order and in sum. */

import { sizeTable } from "@swarmvit/shared/multiscale";
import type { StepRecord } from "@swarmvit/shared/run";

export interface Size {
  /** As in the log: "HxW". */
  readonly key: string;
  readonly height: number;
  readonly width: number;
}

/** A bar of the histogram. Shares in [0, 1]. */
export interface SizeShare {
  readonly size: Size;
  readonly units: number;
  readonly share: number;
}

/** Consecutive steps drawn as one bar: pixels from left to right, share of units by size. */
export interface StripBar {
  readonly left: number;
  readonly right: number;
  readonly shares: readonly number[];
}

/** The sizes that occur in some steps, smallest area first. */
export function sizesOf(steps: readonly Pick<StepRecord, "resolutions">[]): Size[] {
  const keys = new Set<string>();
  for (const step of steps) for (const key of Object.keys(step.resolutions)) keys.add(key);
  return [...keys]
    .map(parseSize)
    .filter((size) => size !== undefined)
    .sort((a, b) => a.height * a.width - b.height * b.width || a.height - b.height);
}

/** "160x192" → its sides; undefined for anything else. */
export function parseSize(key: string): Size | undefined {
  const match = /^(\d+)x(\d+)$/.exec(key);
  return match ? { key, height: Number(match[1]), width: Number(match[2]) } : undefined;
}

/** A size as people say it: "224²" or "160×192". */
export function sizeName(size: Size): string {
  return size.height === size.width ? `${size.height}²` : `${size.height}×${size.width}`;
}

/** Units by size over all given steps, smallest size first. */
export function histogram(steps: readonly Pick<StepRecord, "resolutions">[]): SizeShare[] {
  const sizes = sizesOf(steps);
  const counts = sizes.map((size) =>
    steps.reduce((sum, step) => sum + (step.resolutions[size.key] ?? 0), 0),
  );
  const total = counts.reduce((sum, units) => sum + units, 0);
  return sizes.map((size, i) => ({
    size,
    units: counts[i],
    share: total > 0 ? counts[i] / total : 0,
  }));
}

/** Mean side, the square root of the area, over units: pixels. Undefined without units. */
export function meanSide(shares: readonly SizeShare[]): number | undefined {
  const units = shares.reduce((sum, bar) => sum + bar.units, 0);
  if (units === 0) return undefined;
  const sum = shares.reduce(
    (total, { size, units: n }) => total + n * Math.sqrt(size.height * size.width),
    0,
  );
  return sum / units;
}

/**
 * Bars of a strip: step i is drawn around `positions[i]` (pixels, ascending), half-way to its
 * neighbours; steps closer than `minWidth` pixels are summed into one bar.
 */
export function stripBars(
  steps: readonly Pick<StepRecord, "resolutions">[],
  positions: readonly number[],
  sizes: readonly Size[],
  minWidth: number,
): StripBar[] {
  const bars: StripBar[] = [];
  const last = steps.length - 1;
  if (last < 0) return bars;
  const pitch = last > 0 ? (positions[last] - positions[0]) / last : minWidth;
  let left = positions[0] - pitch / 2;
  let units = new Array<number>(sizes.length).fill(0);
  steps.forEach((step, i) => {
    sizes.forEach((size, k) => {
      units[k] += step.resolutions[size.key] ?? 0;
    });
    const right = i < last ? (positions[i] + positions[i + 1]) / 2 : positions[last] + pitch / 2;
    if (right - left < minWidth && i < last) return;
    const total = units.reduce((sum, n) => sum + n, 0);
    if (total > 0) bars.push({ left, right, shares: units.map((n) => n / total) });
    left = right;
    units = new Array<number>(sizes.length).fill(0);
  });
  return bars;
}

/** Samples of a unit by size key, from the effective configuration; empty where it does not say. */
export function unitBatches(config: Readonly<Record<string, unknown>>): Map<string, number> {
  const read = (name: string): unknown =>
    config[name] ?? config[`--${name}`] ?? config[camel(name)];
  const base = Number(read("img-size"));
  const unitSize = Number(read("unit-size"));
  const [min, max, count, divisor = 32] = String(read("scales") ?? "")
    .split(":")
    .map(Number);
  if (![base, unitSize, min, max, count, divisor].every((value) => value > 0)) return new Map();
  const table = sizeTable({
    ...{ baseHeight: base, baseWidth: base, unitSize, count, divisor },
    ...{ minHeight: min, maxHeight: max, minWidth: min, maxWidth: max },
    semantics: read("scale-batches") === "floor" ? "floor" : "formula",
  });
  return new Map(table.map(({ height, width, batch }) => [`${height}x${width}`, batch]));
}

/** The colour of size `rank` of `count`, small to large: pale to deep on light, deep to pale on dark. */
export function sizeColour(rank: number, count: number, dark: boolean): string {
  const t = count > 1 ? rank / (count - 1) : 0.5;
  const lightness = dark ? 0.42 + 0.46 * t : 0.86 - 0.48 * t;
  const hue = 195 + 110 * t; // cyan → violet
  const chroma = 0.09 + 0.08 * t - (dark ? 0.06 * t * t : 0);
  return `oklch(${lightness.toFixed(3)} ${chroma.toFixed(3)} ${hue.toFixed(0)})`;
}

function camel(name: string): string {
  return name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
