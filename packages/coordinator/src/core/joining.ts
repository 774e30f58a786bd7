/** Volunteers come, ask for work, give it back and go. */

import {
  type Abandon,
  type Device,
  type Hello,
  PROTOCOL_VERSION,
  type Refusal,
} from "@swarmvit/shared/protocol";
import { blame, note } from "./contributions.ts";
import { resendLeases } from "./granting.ts";
import { refreshFree } from "./issuing.ts";
import type { LeaseEntry } from "./leases.ts";
import { hear, type Volunteer } from "./roster.ts";
import { statusOf } from "./run-state.ts";
import { emit, type SessionState } from "./state.ts";
import { isOnlyHope, sizeKey } from "./suitability.ts";
import { strikeSample } from "./training.ts";
import { isUnitDone } from "./work.ts";

const MAX_VOLUNTEERS = 1000;

/** A newcomer, or one that returns: then its standing leases are sent again. */
export function hello(state: SessionState, request: number, message: Hello): void {
  const refusal = refusalOf(state, message);
  if (refusal) {
    emit(state, { type: "answer", request, answer: refusal });
    return;
  }
  const { options, roster } = state;
  const { volunteer, returned } = roster.admit(message, state.now);
  if (volunteer.removed) {
    roster.update(volunteer, { connected: false });
    const text = "this device's contributions were not what was leased";
    emit(state, { type: "answer", request, answer: refuse("REMOVED", text) });
    return;
  }
  hear(volunteer, state.now);
  note(state, volunteer, returned ? "returned" : "joined", undefined, deviceWords(message.device));
  state.statusWanted = true;
  const { id, secret, name } = volunteer;
  emit(state, {
    type: "answer",
    request,
    volunteer: id,
    answer: {
      ok: true,
      volunteer: { id, secret, name },
      run: options.run,
      status: statusOf(state),
    },
  });
  for (const entry of state.book.of(id)) if (isStillFree(state, entry)) state.book.reclaim(entry);
  resendLeases(state, id);
}

/** What computes, for the log; it says so where another machine would give other bits. */
function deviceWords({ executor, description, deterministic, platform }: Device): string {
  const bits = deterministic ? "" : "; bits not promised";
  return `${executor}, ${description}, ${platform}${bits}`;
}

/** How many leases it wants; 0 hands back what it holds, though an answer that comes first still counts. */
export function want(state: SessionState, id: string, leases: number): void {
  const volunteer = state.roster.get(id);
  if (!volunteer) return;
  hear(volunteer, state.now);
  state.roster.update(volunteer, { want: leases });
  state.asking.add(volunteer);
  if (leases > 0) return;
  for (const entry of state.book.of(id)) if (entry.state === "open") state.book.release(entry);
}

/** It will not finish a lease: others may have it at once. */
export function abandon(state: SessionState, id: string, message: Abandon): void {
  const volunteer = state.roster.get(id);
  const entry = state.book.get(message.lease);
  if (!volunteer) return;
  hear(volunteer, state.now);
  if (!entry || entry.volunteer !== id || entry.state !== "open") return;
  const { work } = state;
  const { reason, sample, detail } = message;
  state.book.close(entry, "EXPIRED");
  if (!work || reason === "paused" || reason === "leaving") return;
  note(state, volunteer, "abandoned", reason, detail);
  state.roster.rest(volunteer, state.now, 1000, false);
  const unit = entry.units.find(({ samples }) => sample !== undefined && samples.includes(sample));
  if (reason === "undecodable" && sample !== undefined && unit) {
    const isOnly = isOnlyHope(state, work, unit.index, id);
    if (work.poison.undecodable(sample, unit.index, id, isOnly)) strikeSample(state, sample);
    refreshFree(state, entry.first, entry.end);
    return;
  }
  if (reason === "non-finite") {
    blame(state, entry, "NON_FINITE", detail ?? "in the tab");
    return;
  }
  if (reason === "out-of-memory") for (const at of entry.units) volunteer.tooLarge.add(sizeKey(at));
  work.poison.avoid(entry.first, entry.end, id);
}

/** It says goodbye: what it has not sent goes to others at once. */
export function leave(state: SessionState, id: string): void {
  const volunteer = state.roster.get(id);
  if (!volunteer) return;
  state.roster.update(volunteer, { want: 0 });
  for (const entry of [...state.book.of(id)]) {
    if (entry.state !== "open") continue;
    state.book.close(entry, "EXPIRED");
    emit(state, { type: "drop-upload", lease: entry.id.lease });
  }
  depart(state, volunteer);
}

/** The line is down: others are given its nodes at once, but its own answer counts if it comes first. */
export function disconnected(state: SessionState, id: string): void {
  const volunteer = state.roster.get(id);
  if (!volunteer) return;
  for (const entry of state.book.of(id)) {
    if (entry.state !== "open") continue;
    state.book.release(entry);
    if (entry.deadlineAt <= state.now) emit(state, { type: "drop-upload", lease: entry.id.lease });
  }
  depart(state, volunteer, "the connection was lost");
}

function refusalOf(state: SessionState, message: Hello): Refusal | undefined {
  const most = state.options.maxVolunteers ?? MAX_VOLUNTEERS;
  if (message.protocol !== PROTOCOL_VERSION)
    return refuse(
      "PROTOCOL",
      `protocol ${PROTOCOL_VERSION} was expected (got ${message.protocol}): reload the page`,
    );
  if (state.ending) return refuse("FINISHED", "the run is over: thank you");
  if (state.roster.connectedCount() >= most)
    return refuse("FULL", `${most} volunteers are here already: try again later`);
  return undefined;
}

/** True when nobody else was given a unit of a lease that its volunteer had lost. */
function isStillFree({ book, work, now }: SessionState, entry: LeaseEntry): boolean {
  if (!work || !entry.expired || entry.deadlineAt <= now) return false;
  for (let unit = entry.first; unit < entry.end; unit++)
    if (book.claims(unit) > 0 || isUnitDone(work, unit)) return false;
  return true;
}

function refuse(code: Refusal["code"], message: string): Refusal {
  return { ok: false, code, message };
}

function depart(state: SessionState, volunteer: Volunteer, detail?: string): void {
  if (!volunteer.connected) return;
  state.roster.update(volunteer, { connected: false });
  volunteer.lastSeenAt = state.now;
  state.statusWanted = true;
  note(state, volunteer, "left", undefined, detail);
}
