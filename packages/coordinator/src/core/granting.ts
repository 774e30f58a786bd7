/** A lease's life: made, sent, sent again, revoked, and its verdict. */

import type { FrameId, RefusalCode } from "@swarmvit/shared/frame";
import type { Unit } from "@swarmvit/shared/planner";
import type { ShardRef } from "@swarmvit/shared/protocol";
import { type Node, unitRange } from "@swarmvit/shared/tree";
import type { LeaseEntry } from "./leases.ts";
import { boundSpeed, isPromising } from "./roster.ts";
import { emit, type SessionState } from "./state.ts";
import { costOfUnit, isOnEma, type Work } from "./work.ts";

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
  const cost = units.reduce((sum, unit) => sum + costOfUnit(unit), 0);
  const { backlog } = backlogOf(state, to);
  const firstMs = 1000 * options.leaseSeconds * 2 ** Math.min(4, volunteer.failures);
  const known = volunteer.speed && (backlog + cost) / volunteer.speed;
  const expectedMs = known ?? firstMs / PATIENCE;
  const leaseMs = 1000 * options.leaseSeconds;
  const longestMs = isPromising(volunteer) ? Math.max(LONGEST_DEADLINE_MS, leaseMs) : leaseMs;
  const patienceMs = Math.min(
    longestMs,
    known ? Math.max(SHORTEST_DEADLINE_MS, PATIENCE * known) : firstMs,
  );
  const entry: LeaseEntry = {
    id,
    volunteer: to,
    node,
    first,
    end,
    units,
    cost,
    bytes: options.frameBytes(work.kind),
    issuedAt: now,
    expectedAt: now + expectedMs,
    deadlineAt: now + patienceMs,
    lateAt: isPromising(volunteer) ? now + Math.min(patienceMs, 1.5 * expectedMs) : now,
    state: "open",
    expired: false,
  };
  work.startedAt ??= now;
  state.book.open(entry);
  state.nextDeadline = Math.min(state.nextDeadline, entry.deadlineAt);
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
    if (volunteer && entry.expectedAt < state.now)
      boundSpeed(volunteer, entry.cost, state.now - entry.issuedAt);
    emit(state, { type: "revoke", to, revoke: { lease: id.lease, code } });
  } else if (!state.verifying.has(id.lease)) {
    // Its frame is in and waits for another one's verification.
    emit(state, { type: "drop-upload", lease: id.lease });
    sendVerdict(state, entry.volunteer, id.lease, code);
  }
  state.book.close(entry, code);
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

/** What a volunteer has in hand: leases, and their cost. */
export function backlogOf(
  state: SessionState,
  volunteer: string,
): { readonly held: number; readonly backlog: number } {
  let held = 0;
  let backlog = 0;
  for (const entry of state.book.of(volunteer)) {
    if (entry.state !== "open" || entry.expired) continue;
    held++;
    backlog += entry.cost;
  }
  return { held, backlog };
}

function sendLease(state: SessionState, entry: LeaseEntry): void {
  const { options, weights, work } = state;
  const { id, units, bytes, volunteer: to } = entry;
  const isEvaluation = work?.kind === "evaluation";
  const onEma = isEvaluation && isOnEma(work, entry.first);
  const shards = isEvaluation ? options.validation.shards : options.shards;
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
      weights: onEma ? weights.emaParameters : weights.parameters,
      statistics: isEvaluation ? (onEma ? weights.emaStatistics : weights.statistics) : undefined,
      codec: id.codec,
      bytes,
      deadlineMs: Math.max(0, Math.round(entry.deadlineAt - state.now)),
    },
  });
}

/** The shards that hold the units' samples, in order; `shards` ascend by `first`. */
function shardsOf(shards: readonly ShardRef[], units: readonly Unit[]): ShardRef[] {
  const wanted = new Set<ShardRef>();
  for (const unit of units)
    for (const sample of unit.samples) {
      let low = 0;
      let high = shards.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (shards[middle].first <= sample) low = middle;
        else high = middle - 1;
      }
      wanted.add(shards[low]);
    }
  return [...wanted].sort((a, b) => a.first - b.first);
}
