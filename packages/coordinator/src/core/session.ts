/**
 * The run's state machine: pure, synchronous, given the time. The same events at the same times
 * give the same effects, so one simulator drives it through seeded faults in virtual time.
 */

import type { FrameId, RefusalCode } from "@swarmvit/shared/frame";
import type { HistoryPage, Phase, RunState } from "@swarmvit/shared/run";
import { added, refused, uploaded, verified } from "./contributions.ts";
import { control, rollbackFailed, rolledBack, settle } from "./control.ts";
import { finishEvaluation, openEvaluation } from "./evaluation.ts";
import { isEvaluationDue } from "./evaluation-due.ts";
import { expireLeases, issueLeases } from "./issuing.ts";
import { abandon, disconnected, hello, leave, want } from "./joining.ts";
import type { CoreEvent, CoreSnapshot, Effect } from "./messages.ts";
import type { SessionOptions } from "./options.ts";
import { runStateOf, statusOf } from "./run-state.ts";
import {
  checkpointed,
  checkpointFailed,
  commitFailed,
  retryWhenDue,
  saveWhenDue,
  stopUnlessWritten,
} from "./saving.ts";
import { emit, openState, recordEvent, type SessionState, snapshotOf } from "./state.ts";
import { committed, commitWhenWhole, openStep } from "./training.ts";

export interface Session {
  /** Takes one event; returns what is to be done, in order. Time never goes back: an earlier `nowMs` counts as the latest one. */
  handle(event: CoreEvent, nowMs: number): Effect[];
  /** When a `tick` is needed at the latest, in the time of `handle`; always later than the last event. */
  wakeAt(): number | undefined;
  state(nowMs: number): RunState;
  /** Records after a cursor, for `/api/history` and dashboards. */
  history(since: number): HistoryPage;
  /** What an upload for a lease must be, or why this volunteer may not upload it. O(1). */
  findLease(
    lease: number,
    volunteer: string,
  ): { readonly expected: FrameId; readonly bytes: number } | RefusalCode;
  /** What a later session starts from; the vectors it names must be kept with it. */
  snapshot(): CoreSnapshot;
}

/** Opens a session of a run. Send it a `tick` to begin; times are Unix milliseconds that never go back. */
export function openSession(options: SessionOptions): Session {
  const state = openState(options);
  let wake: number | undefined;
  return {
    handle(event, nowMs) {
      state.now = Math.max(state.now, nowMs);
      state.effects = [];
      take(state, event);
      // Most events of a large step are additions: they open no way to new leases.
      const isQuiet = event.type === "added" || event.type === "traffic";
      advance(state);
      if (state.effects.length > 0 || !isQuiet || (wake ?? 0) <= state.now) wake = wakeAt(state);
      const { effects } = state;
      state.effects = [];
      return effects;
    },
    wakeAt: () => wake,
    state: () => runStateOf(state),
    history: (since) => state.history.page(since),
    findLease(lease, volunteer) {
      const entry = state.book.get(lease);
      if (!entry) return state.book.refusalOf(lease);
      if (entry.volunteer !== volunteer) return "LEASE";
      if (entry.state !== "open") return state.book.refusalOf(lease);
      return { expected: entry.id, bytes: entry.bytes };
    },
    snapshot: () => snapshotOf(state),
  };
}

function take(state: SessionState, event: CoreEvent): void {
  switch (event.type) {
    case "opened":
      recordEvent(state, event.resumedFrom ? "resumed" : "started", event.resumedFrom);
      for (const detail of event.damage ?? []) recordEvent(state, "alert", detail);
      break;
    case "hello":
      hello(state, event.request, event.hello);
      break;
    case "want":
      want(state, event.volunteer, event.want.leases);
      break;
    case "abandon":
      abandon(state, event.volunteer, event.abandon);
      break;
    case "leave":
      leave(state, event.volunteer);
      break;
    case "disconnected":
      disconnected(state, event.volunteer);
      break;
    case "uploaded":
      uploaded(state, event.volunteer, event.lease, event.tookMs);
      break;
    case "traffic":
      state.bytesIn += event.bytesIn;
      state.bytesOut += event.bytesOut;
      break;
    case "verified":
      verified(state, event.lease, event.report);
      break;
    case "refused":
      refused(state, event.lease, event.code, event.detail);
      break;
    case "added":
      added(state, event.step, event.node);
      break;
    case "committed":
      committed(state, event.step, event.weights, event.gradNorm, event.finite);
      break;
    case "commit-failed":
      commitFailed(state, event.step, event.detail);
      break;
    case "checkpointed":
      checkpointed(state, event.step, event.file, event.bytes);
      break;
    case "checkpoint-failed":
      checkpointFailed(state, event.detail);
      break;
    case "control":
      control(state, event.action);
      break;
    case "rolled-back":
      rolledBack(state, event.step, event.weights);
      break;
    case "rollback-failed":
      rollbackFailed(state, event.detail);
      break;
    case "tick":
      break;
  }
}

/** Does all that follows from what is known now. */
function advance(state: SessionState): void {
  expireLeases(state);
  if (!state.gateOpen && state.roster.available().size >= state.options.minWorkers)
    state.gateOpen = true;
  settle(state);
  if (!isBlocked(state)) proceed(state);
  retryWhenDue(state);
  stopUnlessWritten(state);
  saveWhenDue(state);
  updatePhase(state);
  if (state.statusWanted) emit(state, { type: "status", status: statusOf(state) });
  state.statusWanted = false;
}

/** Opens, leases, finishes and commits work until something from outside is needed. */
function proceed(state: SessionState): void {
  const mayIssue = () =>
    state.paused === undefined && state.refusedByDisk === undefined && state.gateOpen;
  while (mayIssue() && !state.ending) {
    if (!state.work) openNext(state);
    const { work } = state;
    if (!work) break;
    if (work.kind === "gradient" && work.committing) break;
    if (mayLease(state)) issueLeases(state, work);
    if (work.kind === "gradient" || !finishEvaluation(state, work)) break;
  }
  if (state.work?.kind === "gradient") commitWhenWhole(state, state.work);
}

/** True when something happened that may let leases go out. */
function mayLease({ askAll, asking, sharesStale, reshareAt, now }: SessionState): boolean {
  return askAll || asking.size > 0 || sharesStale || (reshareAt !== undefined && reshareAt <= now);
}

function openNext(state: SessionState): void {
  if (isEvaluationDue(state, state.step)) openEvaluation(state);
  else if (state.step < state.totalSteps) openStep(state);
  else state.ending = "done";
}

function isBlocked(state: SessionState): boolean {
  return (
    state.diverged !== undefined ||
    state.afterSettling !== undefined ||
    state.rollingBack ||
    state.ending !== undefined
  );
}

function updatePhase(state: SessionState): void {
  const [phase, reason] = phaseOf(state);
  if (phase === state.phase && reason === state.reason) return;
  if (phase !== state.phase) {
    state.phase = phase;
    recordEvent(state, `phase-${phase}`, reason);
  }
  state.reason = reason;
  state.statusWanted = true;
}

function phaseOf(state: SessionState): [Phase, string?] {
  if (state.ending === "stopped")
    return ["paused", "stopped by the host; start it again with --resume"];
  if (state.refusedByDisk) {
    const { what, detail } = state.refusedByDisk;
    return [
      "paused",
      `the ${what === "commit" ? "step" : what} cannot be written (${detail}); training goes on by itself when there is room`,
    ];
  }
  if (state.ending === "done") return ["done"];
  if (state.rollingBack || state.afterSettling) return ["paused", "rolling back"];
  if (state.diverged !== undefined) return ["diverged", state.diverged];
  if (state.paused !== undefined) return ["paused", state.paused];
  const { minWorkers } = state.options;
  const here = state.roster.available().size;
  if (!state.gateOpen)
    return ["waiting", `for ${minWorkers} volunteer${minWorkers > 1 ? "s" : ""} (${here} here)`];
  if (here === 0) return ["waiting", "nobody is here: open the link on a device to go on"];
  if (state.unfit) return ["waiting", state.unfit];
  return [state.work?.kind === "evaluation" ? "evaluating" : "training"];
}

/** The next time at which something changes by itself. */
function wakeAt(state: SessionState): number | undefined {
  const { now, refusedByDisk, book, roster, work } = state;
  let at = Number.POSITIVE_INFINITY;
  if (refusedByDisk && !state.finished) at = earlier(at, refusedByDisk.retryAt, now);
  at = earlier(at, book.nextChange(), now);
  if (work) at = earlier(at, roster.nextRested(), now);
  if (work && work.free.count > 0) at = earlier(at, state.reshareAt, now);
  return Number.isFinite(at) ? at : undefined;
}

/** The earlier of two times, of which the second one counts only if it is still to come. */
function earlier(at: number, time: number | undefined, now: number): number {
  return time !== undefined && time > now && time < at ? time : at;
}
