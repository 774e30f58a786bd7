/** A lease's life: made, sent, sent again, revoked, and its verdict. */

import type { FrameId, RefusalCode } from "@swarmvit/shared/frame";
import type { Unit } from "@swarmvit/shared/planner";
import type { ShardRef } from "@swarmvit/shared/protocol";
import { type Node, unitRange } from "@swarmvit/shared/tree";
import type { LeaseEntry } from "./leases.ts";
import type { PublishedWeights } from "./messages.ts";
import { computeMsOf, extraMsOf, slowDown } from "./pace.ts";
import { isPromising, startOf } from "./roster.ts";
import { emit, type SessionState } from "./state.ts";
import { isOnEma, sizeCounts, type Work } from "./work.ts";

const SHORTEST_DEADLINE_MS = 10_000;
/** A deadline is this many times what the volunteer's own history lets expect. */
const PATIENCE = 4;
/** However slow it was: others may try after this, and its late answer still counts. */
const LONGEST_DEADLINE_MS = 300_000;

/** Gives a node of the open work to a volunteer. */
export function grantLease(state: SessionState, work: Work, to: string, node: Node): void {
  const volunteer = state.roster.get(to);
  if (!volunteer) return;
  const { options, now } = state;
  const { first, end } = unitRange(node, work.units.length);
  const units = work.units.slice(first, end);
  const lease = state.nextLease++;
  const { level, index } = node;
  const { id: run, codec } = options.run;
  const named = [run, state.fence, lease, to, work.kind, work.step, level, index].join(" ");
  const id: FrameId = {
    run,
    kind: work.kind,
    codec,
    step: work.step,
    level,
    index,
    samples: units.reduce((sum, unit) => sum + unit.samples.length, 0),
    lease,
    token: options.tools.mac(`lease ${named}`),
  };
  const { pace } = volunteer;
  const { held, until } = state.book.backlogOf(to);
  const start = held > 0 ? "queued" : startOf(state, volunteer);
  const firstMs = 1000 * options.leaseSeconds * 2 ** Math.min(4, volunteer.failures);
  const counts = sizeCounts(work, first, end);
  const computing = computeMsOf(pace, counts);
  const waiting = Math.max(0, until - now) + extraMsOf(pace, start);
  const known = computing === undefined ? undefined : waiting + computing;
  const expectedMs = known ?? firstMs / PATIENCE;
  const leaseMs = 1000 * options.leaseSeconds;
  const longestMs = isPromising(volunteer) ? Math.max(LONGEST_DEADLINE_MS, leaseMs) : leaseMs;
  const patienceMs = Math.min(
    longestMs,
    known ? Math.max(SHORTEST_DEADLINE_MS, PATIENCE * known) : firstMs,
  );
  const lateness = Math.min(2, 1.15 + 2 * pace.spread);
  const entry: LeaseEntry = {
    id,
    volunteer: to,
    node,
    first,
    end,
    units,
    bytes: options.frameBytes(work.kind),
    issuedAt: now,
    start,
    computeMs: computing ?? expectedMs,
    expectedAt: now + expectedMs,
    deadlineAt: now + patienceMs,
    lateAt: isPromising(volunteer) ? now + Math.min(patienceMs, lateness * expectedMs) : now + 1,
    state: "open",
    expired: false,
    overdue: false,
  };
  work.startedAt ??= now;
  if (work.kind === "gradient") volunteer.weights = state.weights.parameters;
  volunteer.lastArea = units[0].height * units[0].width;
  state.book.open(entry);
  sendLease(state, entry);
}

/** Tells a returned volunteer of the leases that it still holds. */
export function resendLeases(state: SessionState, volunteer: string): void {
  for (const entry of state.book.of(volunteer)) if (entry.state === "open") sendLease(state, entry);
}

/** Ends a lease that is not wanted any more, wherever it stands, and says so. */
export function revokeLease(state: SessionState, entry: LeaseEntry, code: RefusalCode): void {
  const { id, volunteer: to } = entry;
  const volunteer = state.roster.get(to);
  if (entry.state === "open") {
    if (volunteer && entry.expectedAt < state.now && !entry.expired)
      slowDown(
        volunteer.pace,
        (state.now - entry.issuedAt) / Math.max(1, entry.expectedAt - entry.issuedAt),
      );
    emit(state, { type: "revoke", to, revoke: { lease: id.lease, code } });
  } else if (!state.verifying.has(id.lease)) {
    // Its frame is in and waits for another one's verification.
    emit(state, { type: "drop-upload", lease: id.lease });
    sendVerdict(state, entry.volunteer, id.lease, code);
  }
  state.book.close(entry, code);
  if (volunteer) state.asking.add(volunteer);
}

/** Says what became of a contribution: accepted, or why not. */
export function sendVerdict(
  state: SessionState,
  to: string,
  lease: number,
  code?: RefusalCode,
  message?: string,
): void {
  const volunteer = state.roster.get(to);
  const accepted = code === undefined;
  const { samples = 0, accepted: contributions = 0 } = volunteer ?? {};
  emit(state, {
    type: "verdict",
    to,
    verdict: { lease, accepted, code, message, samples, contributions },
  });
}

function sendLease(state: SessionState, entry: LeaseEntry): void {
  const { options, weights, work } = state;
  const { id, units, first, end, bytes, volunteer: to } = entry;
  const isEvaluation = work?.kind === "evaluation";
  const onEma = isEvaluation && isOnEma(work, entry.first);
  const { parameters, statistics } = onEma ? averagesOf(weights) : weights;
  const shards = isEvaluation ? options.validation.shards : options.shards;
  // Whoever has these units now will have units near the same place of the next step.
  const nextUnits = work?.kind === "gradient" ? work.nextUnits.slice(first, end) : [];
  emit(state, {
    type: "lease",
    to,
    lease: {
      lease: id.lease,
      token: id.token,
      kind: id.kind,
      step: id.step,
      level: id.level,
      index: id.index,
      units,
      samples: id.samples,
      shards: shardsOf(shards, units),
      ahead: shardsOf(options.shards, nextUnits),
      weights: parameters,
      statistics: isEvaluation ? statistics : undefined,
      codec: id.codec,
      bytes,
      deadlineMs: Math.max(0, Math.round(entry.deadlineAt - state.now)),
    },
  });
}

/** Errors where they were not published: then the commit was not told of this evaluation. */
function averagesOf({ emaParameters, emaStatistics }: PublishedWeights) {
  if (emaParameters === undefined || emaStatistics === undefined)
    throw new Error("an evaluation is open, and the moving averages are not published");
  return { parameters: emaParameters, statistics: emaStatistics };
}

/** The shards that hold the units' samples, in order; `shards` ascend by `first`. */
function shardsOf(shards: readonly ShardRef[], units: readonly Unit[]): ShardRef[] {
  const wanted = new Set<ShardRef>();
  let last: ShardRef | undefined;
  for (const unit of units)
    for (const sample of unit.samples) {
      // A unit touches at most two shards.
      if (last && sample >= last.first && sample < last.first + last.count) continue;
      let low = 0;
      let high = shards.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (shards[middle].first <= sample) low = middle;
        else high = middle - 1;
      }
      last = shards[low];
      wanted.add(last);
    }
  return [...wanted].sort((a, b) => a.first - b.first);
}
