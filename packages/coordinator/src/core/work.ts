/** The one piece of work that is open: a training step, or an evaluation. */

import type { Report } from "@swarmvit/shared/frame";
import type { StepPlan, Unit } from "@swarmvit/shared/planner";
import { type Assembly, openAssembly } from "./assembly.ts";
import { type FreeNodes, openFreeNodes } from "./free-nodes.ts";
import type { LeaseEntry } from "./leases.ts";
import type { CountedLease, StepLog } from "./messages.ts";
import type { SizeCount } from "./pace.ts";
import { openPoisonWatch, type PoisonWatch } from "./poison.ts";

/** Units of one size in the open work. */
export interface SizeClass {
  /** With the kind of work: evaluating takes another time than training. */
  readonly key: string;
  readonly trains: boolean;
  /** Pixels of a unit. */
  readonly cost: number;
  /** One of them. */
  readonly example: Unit;
  count: number;
}

/** What is known of any work's units. */
interface WorkUnits {
  units: Unit[];
  /** The sizes there are, and which each unit has. */
  readonly sizes: SizeClass[];
  readonly sizeOf: Uint16Array;
  /** Pixels of the smallest unit. */
  readonly smallest: number;
  readonly free: FreeNodes;
}

export interface StepWork extends WorkUnits {
  readonly kind: "gradient";
  readonly step: number;
  readonly plan: StepPlan;
  /** Units of the step after it; none after the last. */
  readonly nextUnits: readonly Unit[];
  readonly assembly: Assembly;
  readonly poison: PoisonWatch;
  /** When the first lease went out. */
  startedAt?: number;
  committing: boolean;
  /** What the commit was asked for with: the same again when the disk refused it. */
  log?: StepLog;
  /** Leases whose contributions were accepted. */
  readonly accepted: LeaseEntry[];
}

export interface Answer {
  readonly volunteer: string;
  readonly report: Report;
}

/** Units [0, E) on the EMA weights, then the same again on the raw ones. */
export interface EvaluationWork extends WorkUnits {
  readonly kind: "evaluation";
  readonly step: number;
  readonly answers: Answer[][];
  readonly poison: PoisonWatch;
  startedAt?: number;
  answered: number;
}

export type Work = StepWork | EvaluationWork;

/** One unit in ten is evaluated by two volunteers. */
const AUDIT_EVERY = 10;

export function openStepWork(plan: StepPlan, nextUnits: readonly Unit[]): StepWork {
  return {
    kind: "gradient",
    step: plan.step,
    plan,
    nextUnits,
    ...unitsOf([...plan.units], true),
    assembly: openAssembly(plan.units.length),
    poison: openPoisonWatch(),
    committing: false,
    accepted: [],
  };
}

/** The accepted leases that are in the sum: a contribution to a larger node replaces those below it. */
export function countedLeases(work: StepWork): CountedLease[] {
  const covered = new Uint8Array(work.units.length);
  const counted = new Set<LeaseEntry>();
  for (const entry of work.accepted.toSorted((a, b) => b.node.level - a.node.level)) {
    if (covered[entry.first] === 1) continue;
    covered.fill(1, entry.first, entry.end);
    counted.add(entry);
  }
  return work.accepted
    .filter((entry) => counted.has(entry))
    .map(({ id, volunteer, node }) => ({ lease: id.lease, volunteer, ...node }));
}

/** Both passes over the validation samples, each once, in units of one size. */
export function openEvaluationWork(
  step: number,
  samples: readonly number[],
  height: number,
  width: number,
  unitSamples: number,
): EvaluationWork {
  const perPass = Math.ceil(samples.length / unitSamples);
  const units = Array.from({ length: 2 * perPass }, (_, index): Unit => {
    const first = (index % perPass) * unitSamples;
    return { index, height, width, samples: samples.slice(first, first + unitSamples), seed: 0 };
  });
  return {
    kind: "evaluation",
    step,
    ...unitsOf(units, false),
    answers: units.map(() => []),
    poison: openPoisonWatch(),
    answered: 0,
  };
}

/** True in the first half, where the EMA weights are evaluated. */
export function isOnEma(work: EvaluationWork, unit: number): boolean {
  return unit < work.units.length / 2;
}

export function isAudited(work: Work, unit: number): boolean {
  return work.kind === "evaluation" && unit % AUDIT_EVERY === 0;
}

/** True once a unit has been counted; a second opinion on it may still be wanted. */
export function isUnitDone(work: Work, unit: number): boolean {
  return work.kind === "gradient" ? work.assembly.isUnitDone(unit) : work.answers[unit].length > 0;
}

/** Answers that a unit still wants, if `volunteers` could give them. */
export function wantedAnswers(work: Work, unit: number, volunteers: number): number {
  if (work.kind === "gradient") return work.assembly.isUnitDone(unit) ? 0 : 1;
  return (isAudited(work, unit) && volunteers > 1 ? 2 : 1) - work.answers[unit].length;
}

export function doneUnits(work: Work): number {
  return work.kind === "gradient" ? work.assembly.doneUnits() : work.answered;
}

/** How many units of each size are in [first, end). */
export function sizeCounts(work: Work, first: number, end: number): SizeCount[] {
  const counts: { size: SizeClass; units: number }[] = [];
  for (let unit = first; unit < end; unit++) {
    const size = work.sizes[work.sizeOf[unit]];
    const last = counts.at(-1);
    if (last?.size === size)
      last.units++; // units are ordered by size
    else counts.push({ size, units: 1 });
  }
  return counts;
}

/** Pixels of a unit's samples: what it costs, roughly. */
function costOfUnit(unit: Unit): number {
  return unit.samples.length * unit.height * unit.width;
}

function unitsOf(units: Unit[], trains: boolean): WorkUnits {
  const sizes: SizeClass[] = [];
  const sizeOf = new Uint16Array(units.length);
  let index = -1;
  for (let i = 0; i < units.length; i++) {
    const unit = units[i];
    // Units are ordered by size: most have that of the one before.
    if (index < 0 || !isSameSize(unit, sizes[index].example)) {
      const key = `${trains ? "" : "evaluation "}${unit.height}x${unit.width}x${unit.samples.length}`;
      index = sizes.findIndex((size) => size.key === key);
      if (index < 0)
        index = sizes.push({ key, trains, cost: costOfUnit(unit), example: unit, count: 0 }) - 1;
    }
    sizes[index].count++;
    sizeOf[i] = index;
  }
  const smallest = Math.min(...sizes.map(({ cost }) => cost));
  return { units, sizes, sizeOf, smallest, free: openFreeNodes(units.length) };
}

function isSameSize(a: Unit, b: Unit): boolean {
  return a.height === b.height && a.width === b.width && a.samples.length === b.samples.length;
}
