/**
 * How fast a volunteer is: milliseconds a pixel, how each size differs from that, what comes on top
 * of computing (the weights' way down, the frame's way up), and how far off expectations were.
 * Moving averages, in which the first measurements count more.
 */

import type { SizeClass } from "./work.ts";

/** What a lease of a volunteer waits for: all of the weights, the newest step's, nothing, or the lease before it. */
export type Start = "newcomer" | "weights" | "idle" | "queued";

export interface Pace {
  /** Training, over all sizes; absent until something was measured. */
  msPerPixel?: number;
  /** Leases that went into it. */
  measured: number;
  /** How much slower a size is than that. */
  readonly bySize: Map<string, { factor: number; measured: number }>;
  /** Milliseconds between lease and upload that are not computing. */
  readonly extraMs: Partial<Record<Start, number>>;
  /** Milliseconds that a frame takes from its first byte to its last; 0 before one was measured. */
  uploadMs: number;
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
const LEAST_SHARE = 1 / 16;
const FIRST_SPREAD = 0.25;
/** Evaluating has no backward pass. */
const EVALUATION_FACTOR = 1 / 3;

export function openPace(): Pace {
  return { bySize: new Map(), measured: 0, extraMs: {}, uploadMs: 0, spread: FIRST_SPREAD };
}

export function isMeasured({ msPerPixel }: Pace): boolean {
  return msPerPixel !== undefined;
}

/** Milliseconds a unit of a size takes; `undefined` before anything was measured. */
export function unitMs({ msPerPixel, bySize }: Pace, size: SizeClass): number | undefined {
  if (msPerPixel === undefined) return undefined;
  return msPerPixel * size.cost * (bySize.get(size.key)?.factor ?? firstFactor(size));
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

/** Milliseconds on top of computing that a lease takes which starts so; as far as is known. */
export function extraMsOf({ extraMs }: Pace, start: Start): number {
  if (start === "queued") return extraMs.queued ?? 0;
  return extraMs[start] ?? extraMs.weights ?? extraMs.newcomer ?? extraMs.idle ?? 0;
}

/**
 * Takes a finished lease in. What the volunteer says it computed for only divides the time that
 * passed here, so that a lie moves its own share of the work and nothing else.
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
  const expected = computeMsOf(pace, counts);
  if (expected !== undefined) {
    const before = expected + extraMsOf(pace, start);
    pace.spread = mix(pace.spread, Math.abs(elapsedMs - before) / Math.max(1, before));
  }
  const extra = pace.extraMs[start];
  pace.extraMs[start] = extra === undefined ? elapsedMs - took : mix(extra, elapsedMs - took);
  if (expected === undefined) {
    const cost = counts.reduce((sum, { size, units }) => sum + usualCost(size) * units, 0);
    pace.msPerPixel = took / cost;
    pace.measured = 1;
    return;
  }
  if (counts.every(({ size }) => size.trains))
    pace.msPerPixel = average(pace.msPerPixel ?? 0, took / expected, pace.measured++, 1);
  observeSizes(pace, counts, took);
}

/** Takes in how long a frame was on its way up. */
export function observeUpload(pace: Pace, tookMs: number): void {
  if (!(tookMs >= 0)) return;
  pace.uploadMs = pace.uploadMs > 0 ? mix(pace.uploadMs, tookMs) : tookMs;
}

/** An unfinished lease shows only that it is no faster than this. */
export function slowDown(pace: Pace, factor: number): void {
  if (factor > 1 && pace.msPerPixel !== undefined) pace.msPerPixel *= Math.min(4, factor);
}

/** What is left of an error is shared among the sizes of the lease. */
function observeSizes(pace: Pace, counts: readonly SizeCount[], took: number): void {
  const expected = computeMsOf(pace, counts) ?? took;
  for (const { size, units } of counts) {
    const share = (units * (unitMs(pace, size) ?? 0)) / expected;
    let known = pace.bySize.get(size.key);
    if (!known) {
      known = { factor: firstFactor(size), measured: 0 };
      pace.bySize.set(size.key, known);
    }
    known.factor = average(known.factor, took / expected, known.measured++, share);
  }
}

function firstFactor({ trains }: SizeClass): number {
  return trains ? 1 : EVALUATION_FACTOR;
}

function usualCost(size: SizeClass): number {
  return size.cost * firstFactor(size);
}

/** An average moved by the ratio of what was seen to what it says; `weight` is how much of that it explains. */
function average(old: number, ratio: number, measured: number, weight: number): number {
  return old * (1 + Math.max(NEW_SHARE, 1 / (measured + 1)) * weight * (ratio - 1));
}

function mix(old: number, value: number): number {
  return old + NEW_SHARE * (value - old);
}
