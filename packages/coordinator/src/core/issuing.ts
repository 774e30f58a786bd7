/** Turns the policy's decisions into leases, and takes back those past their deadline. */

import type { Node } from "@swarmvit/shared/tree";
import { shareNodes, type Worker } from "./assignment.ts";
import { backUp } from "./backups.ts";
import { grantLease } from "./granting.ts";
import { extraMsOf, isMeasured, slowDown, unitMs } from "./pace.ts";
import { isAvailable, isPromising, startOf, type Volunteer } from "./roster.ts";
import { emit, record, type SessionState } from "./state.ts";
import { suits, whyUnfit } from "./suitability.ts";
import { type Work, wantedAnswers } from "./work.ts";

/** Shares that turned out wrong are made anew, but not more often than this share of what is left. */
const RESHARE_SHARE = 0.05;
const LONGEST_GAP_MS = 1000;
const NEWCOMERS_MS = 25;
/** A device that got nothing is tried again: each step without work makes it look this much faster. */
const HOPE = 0.97;

/** Leases what is free to whoever has room; what comes too late is backed up by the idle. */
export function issueLeases(state: SessionState, work: Work): void {
  state.unfit = undefined;
  const asking = state.askAll
    ? [...state.roster.available()]
    : [...state.asking].filter((at) => state.roster.available().has(at));
  state.asking.clear();
  state.askAll = false;
  if (work.free.count > 0) issueFree(state, work, asking);
  const mayGiveTwice = state.options.split !== "equal";
  if (mayGiveTwice && (work.free.count === 0 || state.book.late().size > 0))
    backUp(state, work, asking, (volunteer, node) => suits(state, work, volunteer, node));
}

/** Units whose claims have changed become free, or are not any more. */
export function refreshFree(state: SessionState, first: number, end: number): void {
  const { work, book } = state;
  if (!work) return;
  const before = work.free.count;
  const here = state.roster.available().size;
  for (let unit = first; unit < end; unit++)
    work.free.set(
      unit,
      book.claims(unit) < wantedAnswers(work, unit, here),
      work.poison.isAlone(unit),
    );
  if (work.free.count > before) spoilShares(state);
}

/** Who is here, or what is free, is not what the shares were made for. */
export function spoilShares(state: SessionState): void {
  state.sharesStale = true;
  state.barred.clear();
}

/** Somebody became available, or is not any more. */
export function changePresence(state: SessionState, volunteer: Volunteer): void {
  state.asking.add(volunteer);
  const isNew = isAvailable(volunteer) && !isMeasured(volunteer.pace) && isPromising(volunteer);
  if (!isNew || state.sharesStale || state.options.split === "equal") {
    spoilShares(state);
    return;
  }
  // Its first unit can only be a single one; how the rest is shared may wait for who comes with it.
  volunteer.share = [0];
  reshareSoon(state);
}

/** A newcomer is here, or its speed is known now; many of them come together. */
export function reshareSoon(state: SessionState): void {
  state.reshareAt ??= Math.max(state.now, state.sharedAt + NEWCOMERS_MS);
}

/** Leases past their deadline: others may be given the nodes; a late answer still counts if it is the first. */
export function expireLeases(state: SessionState): void {
  if (state.book.takeLate(state.now)) state.askAll = true;
  for (const volunteer of state.roster.rested(state.now)) {
    state.asking.add(volunteer);
    spoilShares(state);
  }
  for (const entry of state.book.takeOverdue(state.now)) {
    const volunteer = state.roster.get(entry.volunteer);
    // Half a frame must not hold the memory that others' need: its volunteer can offer it anew.
    if (entry.overdue || !volunteer?.connected)
      emit(state, { type: "drop-upload", lease: entry.id.lease });
    const isGivenUp = entry.expired || entry.overdue;
    entry.overdue = true;
    if (isGivenUp) continue;
    state.book.release(entry);
    state.work?.poison.avoid(entry.first, entry.end, entry.volunteer);
    if (!volunteer) continue;
    volunteer.expired++;
    slowDown(volunteer.pace, (state.now - entry.issuedAt) / Math.max(1, entry.computeMs));
    state.roster.rest(volunteer, state.now, 5000, true);
    record(state, {
      kind: "worker",
      time: state.now,
      step: state.step,
      volunteer: volunteer.id,
      name: volunteer.name,
      what: "expired",
    });
  }
}

function issueFree(state: SessionState, work: Work, asked: readonly Volunteer[]): void {
  let asking = asked;
  // Each round that leaves shares stale has barred somebody, so it ends.
  while (work.free.count > 0) {
    if (isReshareDue(state, asking)) {
      reshare(state, work);
      asking = [...state.roster.available()].sort(
        (a, b) => hopelessness(a) - hopelessness(b) || a.readyAt - b.readyAt,
      );
    }
    for (const volunteer of asking) grantShare(state, work, volunteer);
    if (!state.sharesStale) break;
  }
  if (work.free.count === 0) return;
  state.unfit = whyUnfit(state, work);
  if (state.book.standing().size > 0) return;
  // Whatever the reason that nobody who could took a unit, it is offered again.
  const { now } = state;
  if ([...state.roster.available()].some(({ restUntil }) => restUntil <= now))
    state.reshareAt ??= now + LONGEST_GAP_MS;
}

/** True when the shares must be made anew now; sets the time for later where somebody waits for it. */
function isReshareDue(state: SessionState, asking: readonly Volunteer[]): boolean {
  const { sharedAt, sharesEndAt, now } = state;
  if (state.options.split === "equal") return state.sharesStale;
  if (state.sharesStale || (state.reshareAt !== undefined && state.reshareAt <= now)) return true;
  const isIdle = (at: Volunteer) => at.share.length === 0 && state.book.backlogOf(at.id).held === 0;
  if (!asking.some((at) => at.restUntil <= now && isIdle(at))) return false;
  const gap = Math.min(LONGEST_GAP_MS, Math.max(5, RESHARE_SHARE * (sharesEndAt - sharedAt)));
  state.reshareAt = Math.max(sharedAt + gap, now + 1);
  return sharedAt + gap <= now;
}

/** Those whose leases keep coming to nothing come last, and among them who failed most often. */
function hopelessness(volunteer: Volunteer): number {
  return isPromising(volunteer) ? 0 : volunteer.failures;
}

/** Divides the free units anew among all who are here. */
function reshare(state: SessionState, work: Work): void {
  const { book, now } = state;
  const measured: Volunteer[] = [];
  const newcomers: Volunteer[] = [];
  const workers: Worker[] = [];
  for (const volunteer of state.roster.available()) {
    volunteer.share = [];
    const { held, until } = book.backlogOf(volunteer.id);
    volunteer.readyAt = Math.max(until, now);
    if (volunteer.restUntil > now || state.barred.has(volunteer)) continue;
    if (!isPromising(volunteer)) {
      if (held === 0) volunteer.share = [0];
      continue;
    }
    if (state.options.split === "equal") {
      measured.push(volunteer);
      workers.push({ waitMs: 0, unitMs: 1, uploadMs: 0 });
      continue;
    }
    if (!isMeasured(volunteer.pace)) {
      newcomers.push(volunteer);
      continue;
    }
    const worker = workerOf(state, work, volunteer, held, until);
    volunteer.readyAt = now + worker.waitMs;
    measured.push(volunteer);
    workers.push(worker);
  }
  // Newcomers count as no faster than the others, nor than what they have shown so far.
  const usual = workers.toSorted((a, b) => a.unitMs - b.unitMs)[workers.length >> 1];
  if (usual)
    for (const volunteer of newcomers) {
      const { since } = book.backlogOf(volunteer.id);
      const assumedMs = Math.max(usual.unitMs, since === undefined ? 0 : now - since);
      const { waitMs, uploadMs } = usual;
      workers.push({ waitMs: waitMs + assumedMs, unitMs: assumedMs, uploadMs });
    }
  const free = work.kind === "gradient" ? work.free.counts() : [work.free.count];
  const shares = shareNodes(workers, free);
  measured.forEach((volunteer, i) => {
    volunteer.share = [...shares.levels[i]];
  });
  // One unit tells how fast a newcomer is; a second one keeps it busy while the first is sent.
  newcomers.forEach((volunteer, i) => {
    const { held } = book.backlogOf(volunteer.id);
    const own = shares.levels[measured.length + i] ?? [1];
    const most = own.length > 1 || own[0] > 0 ? 2 : 1;
    volunteer.share = Array(Math.max(0, most - held)).fill(0);
  });
  state.sharesStale = false;
  state.reshareAt = undefined;
  state.sharedAt = now;
  state.sharesEndAt = now + shares.endsMs;
}

/** What the policy knows of a measured volunteer, with the leases that it has in hand. */
function workerOf(
  state: SessionState,
  work: Work,
  volunteer: Volunteer,
  held: number,
  until: number,
): Worker {
  const { now } = state;
  const { pace } = volunteer;
  const idleSteps = Math.max(0, work.step - volunteer.lastStep);
  const ms = meanUnitMs(work, volunteer) * HOPE ** idleSteps;
  const { uploadMs } = pace;
  const waitMs =
    held > 0
      ? Math.max(0, until - now - uploadMs)
      : Math.max(0, extraMsOf(pace, startOf(state, volunteer)) - uploadMs);
  return { waitMs, unitMs: ms, uploadMs, isSending: held > 0 };
}

/** Gives a volunteer nodes of its share, in order, while it has room. */
function grantShare(state: SessionState, work: Work, volunteer: Volunteer): void {
  if (volunteer.restUntil > state.now) return;
  if (volunteer.share.length === 0 || work.free.count === 0) return;
  const near = nearOf(work, volunteer);
  const isSuitable = (at: Node) => suits(state, work, volunteer, at);
  while (volunteer.share.length > 0 && work.free.count > 0) {
    if (state.book.backlogOf(volunteer.id).held >= volunteer.want) return;
    const node = work.free.find(volunteer.share[0], near, isSuitable);
    if (!node) {
      // Nothing that is free suits it: the others share it.
      state.barred.add(volunteer);
      state.sharesStale = true;
      return;
    }
    const [level, ...rest] = volunteer.share;
    // A smaller node than its share has: the rest of that is still to come.
    const others = Array.from({ length: level - node.level }, (_, i) => node.level + i);
    volunteer.share = [...others, ...rest];
    grantLease(state, work, volunteer.id, node);
  }
}

/** Where in the step the sizes are that a volunteer had last: it need not compile or plan anew. */
function nearOf(work: Work, { lastArea }: Volunteer): number {
  let low = 0;
  let high = work.units.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    const { height, width } = work.units[middle];
    if (height * width < lastArea) low = middle + 1;
    else high = middle;
  }
  return low;
}

function meanUnitMs(work: Work, { pace }: Volunteer): number {
  let ms = 0;
  for (const size of work.sizes) ms += (unitMs(pace, size) ?? 0) * size.count;
  return Math.max(0.001, ms / work.units.length);
}
