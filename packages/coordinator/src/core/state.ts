/** The session's mutable state, which the files of the core share, and its two outlets. */

import type { EvalRecord, Phase, RunState } from "@swarmvit/shared/run";
import { bestOf, type History, lastOf, lossesOf, openHistory } from "./history.ts";
import { changePresence, refreshFree } from "./issuing.ts";
import { type LeaseBook, type LeaseEntry, openLeaseBook } from "./leases.ts";
import { type LossWindow, openLosses } from "./loss-guard.ts";
import type { CoreSnapshot, Effect, PublishedWeights } from "./messages.ts";
import type { SessionOptions } from "./options.ts";
import { openRoster, type Roster, type Volunteer } from "./roster.ts";
import type { Work } from "./work.ts";

export interface SessionState {
  readonly options: SessionOptions;
  readonly roster: Roster;
  readonly book: LeaseBook;
  readonly history: History;
  readonly fence: number;
  /** Steps of the whole run, `maxSteps` considered. */
  readonly totalSteps: number;
  now: number;
  effects: Effect[];
  /** Steps committed. */
  step: number;
  weights: PublishedWeights;
  readonly struck: Set<number>;
  readonly struckValidation: Set<number>;
  best?: { step: number; top1: number };
  evaluatedAt: number;
  /** Commits that this life of the coordinator began with. */
  readonly startedWith: number;
  /** Samples of the plan that are behind the committed steps. */
  cursor: number;
  readonly losses: LossWindow;
  work?: Work;
  nextLease: number;
  /** Volunteers that may have room for a lease, or all of them. */
  readonly asking: Set<Volunteer>;
  askAll: boolean;
  /** The volunteers' shares of the open work, when they were made, and when they should be done. */
  sharesStale: boolean;
  sharedAt: number;
  /** When they are to be made anew, because somebody has nothing to do. */
  reshareAt?: number;
  sharesEndAt: number;
  /** Volunteers for whom nothing was found in what is free. */
  readonly barred: Set<Volunteer>;

  phase: Phase;
  reason?: string;
  /** Enough volunteers were there once. */
  gateOpen: boolean;
  paused?: string;
  diverged?: string;
  ending?: "done" | "stopped";
  finished: boolean;
  /** No volunteer can be given what is left; why. */
  unfit?: string;

  /** Asked of the shell and not answered yet. */
  readonly verifying: Map<number, LeaseEntry>;
  adding: number;
  checkpointing: boolean;
  /** The checkpoint under way is the last one. */
  finalCheckpoint: boolean;
  /** What the disk refused, and when that is tried again. */
  refusedByDisk?: RefusedByDisk;
  rollingBack: boolean;
  /** To be done as soon as no vector is being worked on. */
  afterSettling?: "rollback" | "reopen";
  saveWanted: boolean;
  /** Pages should hear of a change. */
  statusWanted: boolean;
  /** Steps whose vectors go when their last verification is answered. */
  readonly forgetting: Set<number>;

  bytesIn: number;
  bytesOut: number;
  recordedIn: number;
  recordedOut: number;
  loss?: number;
  lr?: number;
  imagesPerSecond: number;
  stepSeconds?: number;
  evaluation?: RunState["evaluation"];
  readonly refusals: Map<string, number>;
  checkpoints: RunState["checkpoints"];
}

export interface RefusedByDisk {
  readonly what: "commit" | "checkpoint";
  readonly detail: string;
  /** Infinite while it is being tried. */
  retryAt: number;
}

/** The state of a session that has just been opened, from a snapshot or from the start. */
export function openState(options: SessionOptions): SessionState {
  const { start, planner, run } = options;
  const snapshot: CoreSnapshot | undefined = "schema" in start ? start : undefined;
  const weights: PublishedWeights = "schema" in start ? start.weights : start;
  const { loss, lr, evaluation, bytesIn, bytesOut } = lastOf(options.history ?? []);
  const step = snapshot?.step ?? 0;
  // Evaluations are not in the write-ahead log: metrics.jsonl is where they last.
  const evaluations = (options.history ?? []).filter(
    (record): record is EvalRecord => record.kind === "eval" && record.step <= step,
  );
  const fence = options.fence ?? (snapshot ? snapshot.fence + 1 : 1);
  const state: SessionState = {
    options,
    roster: openRoster(options.tools, run.id, (volunteer) => {
      changePresence(state, volunteer);
      // Who is alone gives no second opinions.
      if (state.work?.kind === "evaluation") refreshFree(state, 0, state.work.units.length);
    }),
    book: openLeaseBook(fence * 2 ** 32 - 1, (first, end) => refreshFree(state, first, end)),
    history: openHistory(options.history),
    fence,
    totalSteps: Math.min(planner.totalSteps, options.maxSteps ?? Number.POSITIVE_INFINITY),
    now: 0,
    effects: [],
    step,
    weights,
    struck: new Set(snapshot?.struck),
    struckValidation: new Set(snapshot?.struckValidation),
    best: bestOf(snapshot?.best, evaluations),
    startedWith: step,
    evaluatedAt: Math.max(snapshot?.evaluatedAt ?? 0, evaluations.at(-1)?.step ?? 0),
    cursor: planner.planStep(step)?.cursor ?? planner.totalSamples,
    losses: openLosses(lossesOf(options.history ?? [])),
    // Numbers of different starts never meet: a float64 holds 2^21 fences of 2^32 leases.
    nextLease: fence * 2 ** 32,
    asking: new Set(),
    askAll: true,
    sharesStale: true,
    sharedAt: 0,
    sharesEndAt: 0,
    barred: new Set(),
    phase: "waiting",
    gateOpen: false,
    finished: false,
    verifying: new Map(),
    adding: 0,
    checkpointing: false,
    finalCheckpoint: false,
    rollingBack: false,
    saveWanted: false,
    statusWanted: false,
    forgetting: new Set(),
    loss,
    lr,
    evaluation,
    bytesIn,
    bytesOut,
    recordedIn: bytesIn,
    recordedOut: bytesOut,
    imagesPerSecond: 0,
    refusals: new Map(),
    checkpoints: options.checkpoints ?? [],
  };
  return state;
}

export function emit(state: SessionState, effect: Effect): void {
  state.effects.push(effect);
}

/** Writes an event record: phases, checkpoints, struck samples, alerts. */
export function recordEvent(state: SessionState, what: string, detail?: string): void {
  record(state, { kind: "event", time: state.now, step: state.step, what, detail });
}

export function record(
  state: SessionState,
  entry: Extract<Effect, { type: "record" }>["record"],
): void {
  state.history.append(entry);
  emit(state, { type: "record", record: entry });
}

/** True while the shell works on vectors of the open step. */
export function isWorkingOnVectors(state: SessionState): boolean {
  const { work } = state;
  return (
    state.verifying.size > 0 || state.adding > 0 || (work?.kind === "gradient" && work.committing)
  );
}

export function snapshotOf(state: SessionState): CoreSnapshot {
  return {
    schema: 1,
    step: state.step,
    struck: [...state.struck].sort((a, b) => a - b),
    struckValidation: [...state.struckValidation].sort((a, b) => a - b),
    best: state.best,
    evaluatedAt: state.evaluatedAt,
    weights: state.weights,
    fence: state.fence,
  };
}
