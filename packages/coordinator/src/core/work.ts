/** The one piece of work that is open: a training step, or an evaluation. */

import type { Report } from "@swarmvit/shared/frame";
import type { StepPlan, Unit } from "@swarmvit/shared/planner";
import { type Assembly, openAssembly } from "./assembly.ts";
import type { LeaseEntry } from "./leases.ts";
import type { CountedLease, StepLog } from "./messages.ts";
import { openPoisonWatch, type PoisonWatch } from "./poison.ts";

export interface StepWork {
  readonly kind: "gradient";
  readonly step: number;
  readonly plan: StepPlan;
  /** As planned, less what was struck since. */
  units: Unit[];
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
export interface EvaluationWork {
  readonly kind: "evaluation";
  readonly step: number;
  readonly units: Unit[];
  readonly answers: Answer[][];
  readonly poison: PoisonWatch;
  startedAt?: number;
  answered: number;
}

export type Work = StepWork | EvaluationWork;

/** One unit in ten is evaluated by two volunteers. */
const AUDIT_EVERY = 10;

export function openStepWork(plan: StepPlan): StepWork {
  return {
    kind: "gradient",
    step: plan.step,
    plan,
    units: [...plan.units],
    assembly: openAssembly(plan.units.length),
    poison: openPoisonWatch(),
    committing: false,
    accepted: [],
  };
}

/** The accepted leases that are in the sum: a contribution to a larger node replaces those below it. */
export function countedLeases(work: StepWork): CountedLease[] {
  return work.accepted
    .filter(
      ({ node, first, end }) =>
        !work.accepted.some(
          (other) => other.node.level > node.level && other.first <= first && other.end >= end,
        ),
    )
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
    units,
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

/** Pixels of a unit's samples: what it costs, roughly. */
export function costOfUnit(unit: Unit): number {
  return unit.samples.length * unit.height * unit.width;
}
