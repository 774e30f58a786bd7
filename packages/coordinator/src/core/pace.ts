/**
 * How fast a volunteer is: milliseconds a pixel at each size, what comes on top of computing (the
 * weights' way down, the frame's way up), and how far off expectations were. Moving averages.
 */

import type { SizeClass } from "./work.ts";

/** What a lease of a volunteer waits for: the step's weights, nothing, or the lease before it. */
export type Start = "weights" | "idle" | "queued";

export interface Pace {
  /** Training, over all sizes; absent until something was measured. */
  msPerPixel?: number;
  readonly bySize: Map<string, number>;
  /** Milliseconds between lease and upload that are not computing. */
  readonly extraMs: Record<Start, number>;
  /** Relative error of the last expectations. */
  spread: number;
}

/** Units of a size in a lease. */
export interface SizeCount {
  readonly size: SizeClass;
  readonly units: number;
}

const NEW_SHARE = 0.3;
/** A report of computing is believed down to this share of the time that passed. */
const LEAST_SHARE = 0.25;
const FIRST_SPREAD = 0.25;

export function openPace(): Pace {
  const extraMs = { weights: 0, idle: 0, queued: 0 };
  return { bySize: new Map(), extraMs, spread: FIRST_SPREAD };
}

export function isMeasured({ msPerPixel }: Pace): boolean {
  return msPerPixel !== undefined;
}

/** Milliseconds a unit of a size takes; `undefined` before anything was measured. */
export function unitMs(pace: Pace, size: SizeClass): number | undefined {
  const msPerPixel = pace.bySize.get(size.key) ?? pace.msPerPixel;
  return msPerPixel === undefined ? undefined : msPerPixel * size.cost;
}

/** Milliseconds of computing; `undefined` before anything was measured. */
export function computeMsOf(pace: Pace, counts: readonly SizeCount[]): number | undefined {
  let sum = 0;
  for (const { size, units } of counts) {
    const ms = unitMs(pace, size);
    if (ms === undefined) return undefined;
    sum += ms * units;
  }
  return sum;
}

/**
 * Takes a finished lease in. What the volunteer says it computed for only divides the time that
 * passed here, so that a lie moves its own share of the work a little and nothing else.
 */
export function observe(
  pace: Pace,
  counts: readonly SizeCount[],
  start: Start,
  elapsedMs: number,
  reportedMs: number,
): void {
  const reported = Number.isFinite(reportedMs) ? reportedMs : elapsedMs;
  const took = Math.min(elapsedMs, Math.max(LEAST_SHARE * elapsedMs, reported));
  const cost = counts.reduce((sum, { size, units }) => sum + size.cost * units, 0);
  const expected = computeMsOf(pace, counts);
  if (expected !== undefined) {
    const before = expected + pace.extraMs[start];
    pace.spread = mix(pace.spread, Math.abs(elapsedMs - before) / Math.max(1, before));
  }
  pace.extraMs[start] =
    pace.extraMs[start] > 0 ? mix(pace.extraMs[start], elapsedMs - took) : elapsedMs - took;
  const isTraining = counts.every(({ size }) => size.trains);
  if (isTraining || pace.msPerPixel === undefined)
    pace.msPerPixel =
      pace.msPerPixel === undefined ? took / cost : mix(pace.msPerPixel, took / cost);
  for (const { size, units } of counts) {
    const known = pace.bySize.get(size.key);
    if (known === undefined) {
      pace.bySize.set(size.key, took / cost);
      continue;
    }
    // The error is shared among the sizes of a mixed lease.
    const ratio = expected ? took / expected : 1;
    const share = (units * size.cost) / cost;
    pace.bySize.set(size.key, known * (1 + NEW_SHARE * share * (ratio - 1)));
  }
}

/** An unfinished lease shows only that it is no faster than this. */
export function slowDown(pace: Pace, factor: number): void {
  if (factor <= 1) return;
  const by = Math.min(4, factor);
  if (pace.msPerPixel !== undefined) pace.msPerPixel *= by;
  for (const [key, msPerPixel] of pace.bySize) pace.bySize.set(key, msPerPixel * by);
}

function mix(old: number, value: number): number {
  return old + NEW_SHARE * (value - old);
}
