/** Uploads on their way into the sum: verified, counted once, or refused, and whose fault that is. */

import type { RefusalCode, Report } from "@swarmvit/shared/frame";
import type { Join } from "./assembly.ts";
import { compareAnswers } from "./evaluation.ts";
import { revokeLease, sendVerdict } from "./granting.ts";
import { refreshFree, reshareSoon } from "./issuing.ts";
import type { LeaseEntry } from "./leases.ts";
import { isMeasured, observe, observeUpload } from "./pace.ts";
import { hear, type Volunteer } from "./roster.ts";
import { emit, record, type SessionState } from "./state.ts";
import { isOnlyHope } from "./suitability.ts";
import { diverge, forgetStep } from "./training.ts";
import {
  type EvaluationWork,
  isAudited,
  type StepWork,
  sizeCounts,
  type Work,
  wantedAnswers,
} from "./work.ts";

/** Codes that only a wrong program, not a bad line or a bad device, gives rise to. */
const MALFORMED: ReadonlySet<RefusalCode> = new Set([
  "MALFORMED",
  "VERSION",
  "CODEC",
  "KIND",
  "RUN",
  "STEP",
  "NODE",
  "SAMPLES",
  "LEASE",
  "TOKEN",
  "SIZE",
  "COUNTS",
]);
const MALFORMED_IN_A_ROW = 5;
/** Share of the newest measurement in a volunteer's images a second. */
const SPEED_SHARE = 0.3;

/** A whole frame is in. */
export function uploaded(
  state: SessionState,
  volunteer: string,
  lease: number,
  tookMs?: number,
): void {
  const from = state.roster.get(volunteer);
  if (from) hear(from, state.now);
  const entry = state.book.get(lease);
  if (entry && (entry.volunteer !== volunteer || entry.state === "uploaded")) return;
  if (!entry || entry.state === "closed") {
    emit(state, { type: "drop-upload", lease });
    sendVerdict(state, volunteer, lease, state.book.refusalOf(lease));
    return;
  }
  state.book.upload(entry, state.now);
  if (from && tookMs !== undefined && entry.id.kind === "gradient")
    observeUpload(from.pace, tookMs);
  if (from) state.asking.add(from);
  const { work } = state;
  const offer = work?.kind === "gradient" ? work.assembly.offer(entry.node, lease) : "verify";
  if (offer === "verify") verify(state, entry);
  if (offer === "covered") revokeLease(state, entry, "DUPLICATE");
}

/** The frame is what was leased: counted if it is the first. */
export function verified(state: SessionState, lease: number, report: Report): void {
  const entry = state.verifying.get(lease);
  if (!entry) return;
  state.verifying.delete(lease);
  const { work } = state;
  const isCurrent = work !== undefined && isOf(work, entry);
  const isWanted = isCurrent && entry.state !== "closed";
  let counted = false;
  if (isWanted && work.kind === "gradient") counted = fill(state, work, entry, report);
  if (isWanted && work.kind === "evaluation") counted = answer(state, work, entry, report);
  if (!counted) {
    if (entry.state !== "closed") state.book.close(entry, "DUPLICATE");
    if (isCurrent && work.kind === "gradient") retract(state, work, entry);
    sendVerdict(state, entry.volunteer, lease, entry.closedAs);
  }
  forgetVerified(state, entry);
}

/** The frame was not what was leased; said by its verification, or by its length or first bytes. */
export function refused(
  state: SessionState,
  lease: number,
  code: RefusalCode,
  detail: string,
): void {
  const verifying = state.verifying.get(lease);
  const entry = verifying ?? state.book.get(lease);
  if (!entry || (!verifying && entry.state !== "open")) return;
  state.verifying.delete(lease);
  state.refusals.set(code, (state.refusals.get(code) ?? 0) + 1);
  const volunteer = state.roster.get(entry.volunteer);
  if (volunteer) {
    volunteer.refused++;
    state.roster.rest(volunteer, state.now, 1000, false);
    note(state, volunteer, "refused", code, detail);
  }
  if (verifying) sendVerdict(state, entry.volunteer, lease, code, detail);
  const { work } = state;
  const isCurrent = work && isOf(work, entry) && entry.state !== "closed";
  if (entry.state !== "closed") state.book.close(entry, code);
  if (verifying && work?.kind === "gradient" && isOf(work, entry)) retract(state, work, entry);
  if (isCurrent) blame(state, entry, code, detail);
  if (volunteer && MALFORMED.has(code)) {
    volunteer.malformedStreak++;
    if (volunteer.malformedStreak >= MALFORMED_IN_A_ROW) remove(state, volunteer, code);
  }
  forgetVerified(state, entry);
}

/** The sum of two nodes is in place. */
export function added(state: SessionState, step: number, node: StepWork["assembly"]["root"]): void {
  if (state.adding > 0) state.adding--;
  const { work } = state;
  if (work?.kind === "gradient" && work.step === step) join(state, work, work.assembly.added(node));
}

/** Whether a single unit that did not give a usable number is at fault, or who computed it. */
export function blame(
  state: SessionState,
  entry: LeaseEntry,
  code: RefusalCode,
  detail: string,
): void {
  const { work } = state;
  if (!work) return;
  const { first, end, volunteer } = entry;
  if (code !== "NON_FINITE" && code !== "ZERO") {
    work.poison.avoid(first, end, volunteer);
    return;
  }
  if (end - first > 1) {
    work.poison.suspect(first, end, volunteer);
    refreshFree(state, first, end);
    return;
  }
  const isOnly = isOnlyHope(state, work, first, volunteer);
  if (work.poison.unusable(first, volunteer, isOnly))
    diverge(
      state,
      `unit ${first} of step ${work.step + 1} gave no usable gradient, whoever computed it (${code}: ${detail}): roll back, or resume to try again`,
    );
}

/** Records something about a volunteer. */
export function note(
  state: SessionState,
  volunteer: Volunteer,
  what: "joined" | "returned" | "left" | "refused" | "expired" | "abandoned",
  code?: string,
  detail?: string,
): void {
  record(state, {
    kind: "worker",
    time: state.now,
    step: state.step,
    volunteer: volunteer.id,
    name: volunteer.name,
    what,
    code,
    detail,
  });
}

function verify(state: SessionState, entry: LeaseEntry): void {
  state.verifying.set(entry.id.lease, entry);
  emit(state, {
    type: "verify",
    lease: entry.id.lease,
    expected: entry.id,
    node: entry.node,
  });
}

/** Puts a contribution into the tree; false if its node was covered meanwhile. */
function fill(state: SessionState, work: StepWork, entry: LeaseEntry, report: Report): boolean {
  const joins = work.assembly.fill(entry.node, report);
  if (!joins) return false;
  credit(state, work, entry, report);
  work.accepted.push(entry);
  join(state, work, joins);
  for (const other of state.book.overlapping(entry.first, entry.end))
    if (work.assembly.isCovered(other.node)) revokeLease(state, other, "DUPLICATE");
  return true;
}

/** Takes an answer of an evaluation: the first one counts, a second is compared with it. */
function answer(
  state: SessionState,
  work: EvaluationWork,
  entry: LeaseEntry,
  report: Report,
): boolean {
  const { first: unit, volunteer } = entry;
  const answers = work.answers[unit];
  if (answers.length > 0 && !isAudited(work, unit)) return false;
  if (answers.some((earlier) => earlier.volunteer === volunteer)) return false;
  if (answers.length === 0) work.answered++;
  answers.push({ volunteer, report });
  credit(state, work, entry, report);
  compareAnswers(state, work, unit);
  if (wantedAnswers(work, unit, Number.POSITIVE_INFINITY) > 0) return true;
  for (const other of state.book.overlapping(unit, unit + 1))
    revokeLease(state, other, "DUPLICATE");
  return true;
}

/** Closes a lease as accepted, and remembers it to its volunteer's honour. */
function credit(state: SessionState, work: Work, entry: LeaseEntry, report: Report): void {
  const { uploadedAt = state.now, first, end, start, id } = entry;
  state.book.close(entry, "DUPLICATE"); // what a copy of it is answered
  const volunteer = state.roster.get(entry.volunteer);
  if (volunteer) {
    const since = Math.max(entry.issuedAt, volunteer.lastUploadAt);
    const elapsed = Math.max(1, uploadedAt - since);
    const wasMeasured = isMeasured(volunteer.pace);
    observe(volunteer.pace, sizeCounts(work, first, end), start, elapsed, report.computeMs);
    if (!wasMeasured) reshareSoon(state);
    const { imagesPerSecond: before } = volunteer;
    const now = (1000 * id.samples) / elapsed;
    volunteer.imagesPerSecond = before > 0 ? before + SPEED_SHARE * (now - before) : now;
    volunteer.lastUploadAt = uploadedAt;
    state.asking.add(volunteer);
    volunteer.accepted++;
    volunteer.failures = 0;
    volunteer.malformedStreak = 0;
    volunteer.restUntil = state.now;
    volunteer.lastStep = id.step + 1;
    if (id.kind === "gradient") volunteer.samples += id.samples;
  }
  sendVerdict(state, entry.volunteer, id.lease);
}

/** A node's slot is free again: the next upload for it, or its children's sum, takes it. */
function retract(state: SessionState, work: StepWork, entry: LeaseEntry): void {
  const { next, joins } = work.assembly.retract(entry.node);
  join(state, work, joins);
  if (next === undefined) return;
  const waiting = state.book.get(next);
  if (waiting?.state === "uploaded") verify(state, waiting);
  else retract(state, work, entry);
}

function join(state: SessionState, work: StepWork, joins: readonly Join[]): void {
  for (const joined of joins) {
    if (joined.type === "add") state.adding++;
    emit(state, { ...joined, step: work.step });
  }
}

function forgetVerified(state: SessionState, entry: LeaseEntry): void {
  const { step, kind } = entry.id;
  if (kind === "gradient" && state.forgetting.has(step)) forgetStep(state, step);
}

function remove(state: SessionState, volunteer: Volunteer, code: RefusalCode): void {
  state.roster.update(volunteer, { removed: true });
  for (const entry of [...state.book.of(volunteer.id)])
    if (entry.state === "open") revokeLease(state, entry, "LEASE");
  emit(state, {
    type: "notice",
    to: volunteer.id,
    notice: {
      code: "REMOVED",
      message: `${MALFORMED_IN_A_ROW} contributions in a row were not what was leased (the last one: ${code}); reload the page to get the current program`,
      final: true,
    },
  });
  note(state, volunteer, "left", "REMOVED");
}

function isOf(work: { kind: string; step: number }, entry: LeaseEntry): boolean {
  return entry.id.kind === work.kind && entry.id.step === work.step;
}
