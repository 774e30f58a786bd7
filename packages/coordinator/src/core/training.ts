/** Steps: opened from the plan, committed when the root is filled, recorded. */

import type { StepRecord } from "@swarmvit/shared/run";
import { learningRate } from "@swarmvit/shared/schedule";
import { isEvaluationDue } from "./evaluation-due.ts";
import { revokeLease } from "./granting.ts";
import { refreshFree, spoilShares } from "./issuing.ts";
import { isRunaway, usualLoss } from "./loss-guard.ts";
import type { PublishedWeights, StepLog } from "./messages.ts";
import { accepted } from "./saving.ts";
import { emit, record, recordEvent, type SessionState, snapshotOf } from "./state.ts";
import { countedLeases, openStepWork, type StepWork, type Work } from "./work.ts";

/** Opens the next step of the plan. */
export function openStep(state: SessionState): void {
  const plan = state.options.planner.planStep(state.step, state.struck);
  if (!plan) throw new Error(`step ${state.step + 1} is not in the plan of ${state.totalSteps}`);
  openWork(state, openStepWork(plan, state.options.planner.planStep(state.step + 1)?.units ?? []));
}

/** Makes a piece of work the open one. */
export function openWork(state: SessionState, work: Work): void {
  state.work = work;
  state.book.reset(work.units.length);
  refreshFree(state, 0, work.units.length);
  spoilShares(state);
  state.askAll = true;
  state.statusWanted = true;
}

/** Asks for the commit when the whole step is summed. */
export function commitWhenWhole(state: SessionState, work: StepWork): void {
  if (work.committing || !work.assembly.rootReport()) return;
  work.committing = true;
  work.log = logOf(state, work);
  askCommit(state, work);
}

/** Asks for the commit, for the first time or after the disk has refused it. */
export function askCommit(state: SessionState, work: StepWork): void {
  const { log } = work;
  if (!log) throw new Error(`the commit of step ${work.step + 1} was not asked for before`);
  emit(state, {
    type: "commit",
    step: work.step,
    root: work.assembly.root,
    samples: log.record.samples,
    lr: log.record.lr,
    log,
    evaluated: isEvaluationDue(state, work.step + 1),
  });
}

/** The step is applied and on disk, or its result is not finite and nothing was changed. */
export function committed(
  state: SessionState,
  step: number,
  weights: PublishedWeights,
  gradNorm: number,
  finite: boolean,
): void {
  const { work } = state;
  if (work?.kind !== "gradient" || !work.committing || work.step !== step) return;
  work.committing = false;
  accepted(state, "commit");
  if (!finite) {
    diverge(state, `step ${step + 1} would make the weights non-finite: roll back to go on`);
    return;
  }
  const line = recordStep(state, work, gradNorm);
  state.step = step + 1;
  state.weights = weights;
  state.cursor = work.plan.nextCursor;
  closeWork(state);
  const usual = usualLoss(state.losses);
  if (isRunaway(state.losses, line.loss)) {
    diverge(
      state,
      `the loss is ${line.loss.toPrecision(3)} after step ${state.step}, and was ${usual.toPrecision(3)} before: roll back, or resume to go on all the same`,
    );
    return;
  }
  if (state.step % state.options.checkpointEvery === 0) state.saveWanted = true;
  state.roster.prune(state.now);
}

/** Ends the open work: its leases are void and its vectors forgotten. */
export function closeWork(state: SessionState): void {
  const { work } = state;
  if (!work) return;
  voidLeases(state);
  state.work = undefined;
  state.statusWanted = true;
  if (work.kind === "gradient") forgetStep(state, work.step);
}

/** Forgets a step's vectors, as soon as none of them is being made any more. */
export function forgetStep(state: SessionState, step: number): void {
  for (const { id } of state.verifying.values())
    if (id.kind === "gradient" && id.step === step) {
      state.forgetting.add(step);
      return;
    }
  state.forgetting.delete(step);
  emit(state, { type: "forget-step", step });
}

/** Training cannot go on by itself: leases end, and the host decides. */
export function diverge(state: SessionState, reason: string): void {
  state.diverged = reason;
  voidLeases(state);
  recordEvent(state, "diverged", reason);
}

/** Strikes an undecodable sample from the plan and re-plans the units that are not in yet. */
export function strikeSample(state: SessionState, sample: number): void {
  const { work } = state;
  if (!work) return;
  const struck = work.kind === "gradient" ? state.struck : state.struckValidation;
  if (struck.has(sample)) {
    // It is still asked for: its unit has nothing else, and the host resumed all the same.
    divergeAtUnit(
      state,
      work,
      work.units.findIndex(({ samples }) => samples.includes(sample)),
    );
    return;
  }
  struck.add(sample);
  const split = work.kind === "gradient" ? "training" : "validation";
  recordEvent(state, "struck", `${split} sample ${sample} cannot be decoded and is left out`);
  const plan = work.kind === "gradient" && state.options.planner.planStep(work.step, state.struck);
  for (const unit of [...work.units]) {
    if (!unit.samples.includes(sample)) continue;
    if (work.kind === "gradient") {
      if (!plan || work.assembly.isUnitDone(unit.index)) continue;
      const replanned = plan.units[unit.index];
      if (replanned.samples.includes(sample)) {
        divergeAtUnit(state, work, unit.index);
        return;
      }
      work.units[unit.index] = replanned;
    } else {
      if (work.answers[unit.index].length > 0) continue;
      const samples = unit.samples.filter((id) => id !== sample);
      work.units[unit.index] = { ...unit, samples };
      if (samples.length === 0) {
        const report = { loss: 0, top1: 0, top5: 0, computeMs: 0 };
        work.answers[unit.index].push({ volunteer: "", report });
        work.answered++;
      }
    }
    for (const entry of state.book.overlapping(unit.index, unit.index + 1))
      revokeLease(state, entry, "STALE");
    refreshFree(state, unit.index, unit.index + 1);
  }
}

function divergeAtUnit(state: SessionState, work: Work, unit: number): void {
  diverge(
    state,
    `no sample of unit ${unit} in step ${work.step + 1} can be decoded: mend the data set and restart`,
  );
}

function voidLeases(state: SessionState): void {
  for (const entry of [...state.book.standing()]) revokeLease(state, entry, "STALE");
}

/** N: the planned samples of the units as they were computed. */
function samplesOf(work: StepWork): number {
  return work.units.reduce((sum, unit) => sum + unit.samples.length, 0);
}

/** The step as the log keeps it: its line and the snapshot are what they will be once it is done. */
function logOf(state: SessionState, work: StepWork): StepLog {
  const report = work.assembly.rootReport();
  if (!report) throw new Error(`step ${work.step + 1} is committed without a whole sum`);
  const samples = samplesOf(work);
  const seconds = Math.max(0.001, (state.now - (work.startedAt ?? state.now)) / 1000);
  const resolutions: Record<string, number> = {};
  for (const { height, width } of work.units) {
    const size = `${height}x${width}`;
    resolutions[size] = (resolutions[size] ?? 0) + 1;
  }
  const { cursor, nextCursor } = work.plan;
  const leases = countedLeases(work);
  const { weights, ...core } = snapshotOf(state);
  const log: StepLog = {
    core: { ...core, step: work.step + 1 },
    record: {
      kind: "step",
      step: work.step + 1,
      epoch: Math.floor(cursor / state.options.planner.epochSamples),
      time: state.now,
      loss: report.loss / samples,
      top1: report.top1 / samples,
      lr: learningRate(state.options.schedule, cursor),
      samples,
      images_per_second: samples / seconds,
      seconds,
      workers: new Set(leases.map(({ volunteer }) => volunteer)).size,
      resolutions,
      bytes_in: state.bytesIn - state.recordedIn,
      bytes_out: state.bytesOut - state.recordedOut,
      weights: weights.parameters,
    },
    cursor: nextCursor,
    leases,
  };
  state.recordedIn = state.bytesIn;
  state.recordedOut = state.bytesOut;
  return log;
}

function recordStep(state: SessionState, work: StepWork, gradNorm: number): StepRecord {
  if (!work.log) throw new Error(`step ${work.step + 1} was committed without being asked for`);
  const line: StepRecord = { ...work.log.record, grad_norm: gradNorm };
  state.loss = line.loss;
  state.lr = line.lr;
  state.imagesPerSecond = smooth(state.imagesPerSecond, line.images_per_second);
  state.stepSeconds = smooth(state.stepSeconds ?? 0, line.seconds);
  record(state, line);
  return line;
}

function smooth(old: number, value: number): number {
  return old > 0 ? old + 0.2 * (value - old) : value;
}
