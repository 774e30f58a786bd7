/** The book of leases of the open work: who was given which node, until when, and what became of it. */

import type { FrameId, RefusalCode } from "@swarmvit/shared/frame";
import type { Unit } from "@swarmvit/shared/planner";
import type { Node } from "@swarmvit/shared/tree";
import type { Start } from "./pace.ts";
import { openTimeHeap } from "./time-heap.ts";

export interface LeaseEntry {
  readonly id: FrameId;
  readonly volunteer: string;
  readonly node: Node;
  /** Units [first, end). */
  readonly first: number;
  readonly end: number;
  readonly units: readonly Unit[];
  /** Exact length of the frame. */
  readonly bytes: number;
  readonly issuedAt: number;
  readonly start: Start;
  /** What its computing is expected to take. */
  readonly computeMs: number;
  /** When its upload is expected. */
  readonly expectedAt: number;
  readonly deadlineAt: number;
  /** From then on idle volunteers may be given the node too. */
  readonly lateAt: number;
  /** `open`: being computed; `uploaded`: its frame is in, being checked or waiting for that. */
  state: "open" | "uploaded" | "closed";
  /** Not counted on: others may be given the node; an answer still counts if it comes first. */
  expired: boolean;
  /** Its deadline is past, noticed once: what has come of its frame is kept for as long again. */
  overdue: boolean;
  uploadedAt?: number;
  closedAs?: RefusalCode;
}

/** What a volunteer has in hand: leases that it is counted on for, and when the last is expected. */
export interface Backlog {
  readonly held: number;
  readonly until: number;
  /** When the first of them was given. */
  readonly since?: number;
}

export interface LeaseBook {
  open(entry: LeaseEntry): void;
  get(lease: number): LeaseEntry | undefined;
  /** Not closed, oldest first. */
  standing(): ReadonlySet<LeaseEntry>;
  /** Not closed, of one volunteer. */
  of(volunteer: string): Iterable<LeaseEntry>;
  backlogOf(volunteer: string): Backlog;
  /** Not closed, with a unit in [first, end). */
  overlapping(first: number, end: number): LeaseEntry[];
  /** Not closed, with this unit. */
  at(unit: number): readonly LeaseEntry[];
  upload(entry: LeaseEntry, now: number): void;
  /** Others may have its units. */
  release(entry: LeaseEntry): void;
  /** Its volunteer is counted on again. */
  reclaim(entry: LeaseEntry): void;
  close(entry: LeaseEntry, code: RefusalCode): void;
  /** Leases that count on computing this unit: neither expired nor closed. */
  claims(unit: number): number;
  /** Open leases that are past their time: idle volunteers may be given their nodes too. */
  late(): ReadonlySet<LeaseEntry>;
  /** Notices who is late by now; true if anybody is who was not. */
  takeLate(now: number): boolean;
  /** Open leases whose deadline has passed, released ones too; once, and again after as long again. */
  takeOverdue(now: number): LeaseEntry[];
  /** When the next open lease misses its deadline, or is late. */
  nextChange(): number | undefined;
  /** The latest time at which an open lease is expected. */
  lastExpected(): number;
  /** Open leases with a unit that nobody else is at, the one expected last first. */
  slowest(): Iterable<LeaseEntry>;
  /** Why a lease number cannot be answered. */
  refusalOf(lease: number): RefusalCode;
  /** Forgets all leases: they were for work that is over. */
  reset(unitCount: number): void;
}

/**
 * Opens an empty book; lease numbers below the first one of the open work are `STALE`, and so are
 * those up to `earlier`, of earlier lives of the coordinator. `changed` hears of each range of units
 * whose claims have changed.
 */
export function openLeaseBook(
  earlier: number,
  changed: (first: number, end: number) => void,
): LeaseBook {
  let entries = new Map<number, LeaseEntry>();
  let standing = new Set<LeaseEntry>();
  let byVolunteer = new Map<string, Set<LeaseEntry>>();
  let byUnit: (LeaseEntry[] | undefined)[] = [];
  let claims = new Uint16Array(0);
  const late = new Set<LeaseEntry>();
  let highest = earlier;
  const isOpen = (entry: LeaseEntry) => entry.state === "open" && !entry.expired;
  const deadlines = openTimeHeap<LeaseEntry>(({ state }) => state === "open");
  const lates = openTimeHeap<LeaseEntry>(isOpen);
  const expected = openTimeHeap<LeaseEntry>(isOpen); // by minus the time: the last one first
  const isLone = (entry: LeaseEntry) => {
    for (let unit = entry.first; unit < entry.end; unit++) if (claims[unit] === 1) return true;
    return false;
  };
  const lone = openTimeHeap<LeaseEntry>((entry) => isOpen(entry) && isLone(entry)); // likewise

  const claim = (entry: LeaseEntry, by: 1 | -1) => {
    let left: LeaseEntry | undefined; // alone with a unit now; most often with the next one as well
    for (let unit = entry.first; unit < entry.end; unit++) {
      claims[unit] += by;
      if (by > 0 || claims[unit] !== 1) continue;
      for (const other of byUnit[unit] ?? [])
        if (other !== entry && other !== left && isOpen(other)) {
          left = other;
          lone.push(-other.expectedAt, other);
        }
    }
    changed(entry.first, entry.end);
  };
  const isClaiming = (entry: LeaseEntry) =>
    entry.state === "uploaded" || (entry.state === "open" && !entry.expired);

  return {
    open(entry) {
      entries.set(entry.id.lease, entry);
      standing.add(entry);
      let own = byVolunteer.get(entry.volunteer);
      if (!own) {
        own = new Set();
        byVolunteer.set(entry.volunteer, own);
      }
      own.add(entry);
      for (let unit = entry.first; unit < entry.end; unit++) {
        const list = byUnit[unit];
        if (list) list.push(entry);
        else byUnit[unit] = [entry];
      }
      highest = Math.max(highest, entry.id.lease);
      deadlines.push(entry.deadlineAt, entry);
      lates.push(entry.lateAt, entry);
      expected.push(-entry.expectedAt, entry);
      claim(entry, 1);
      lone.push(-entry.expectedAt, entry);
    },
    get: (lease) => entries.get(lease),
    standing: () => standing,
    of: (volunteer) => byVolunteer.get(volunteer) ?? [],
    backlogOf(volunteer) {
      let held = 0;
      let until = 0;
      let since: number | undefined;
      for (const entry of byVolunteer.get(volunteer) ?? []) {
        if (!isOpen(entry)) continue;
        held++;
        since ??= entry.issuedAt;
        until = Math.max(until, entry.expectedAt);
      }
      return { held, until, since };
    },
    overlapping(first, end) {
      const found = new Set<LeaseEntry>();
      for (let unit = first; unit < end; unit++)
        for (const entry of byUnit[unit] ?? []) found.add(entry);
      return [...found];
    },
    at: (unit) => byUnit[unit] ?? [],
    upload(entry, now) {
      const wasClaiming = isClaiming(entry);
      entry.state = "uploaded";
      late.delete(entry);
      entry.uploadedAt = now;
      if (!wasClaiming) claim(entry, 1);
    },
    release(entry) {
      const wasClaiming = isClaiming(entry);
      entry.expired = true;
      late.delete(entry);
      if (wasClaiming && entry.state === "open") claim(entry, -1);
    },
    reclaim(entry) {
      if (!entry.expired || entry.state !== "open") return;
      entry.expired = false;
      lates.push(entry.lateAt, entry);
      expected.push(-entry.expectedAt, entry);
      claim(entry, 1);
      lone.push(-entry.expectedAt, entry);
    },
    close(entry, code) {
      const wasClaiming = isClaiming(entry);
      entry.state = "closed";
      entry.closedAs = code;
      standing.delete(entry);
      late.delete(entry);
      byVolunteer.get(entry.volunteer)?.delete(entry);
      for (let unit = entry.first; unit < entry.end; unit++) {
        const list = byUnit[unit];
        if (!list) continue;
        if (list.length === 1) byUnit[unit] = undefined;
        else list.splice(list.indexOf(entry), 1);
      }
      if (wasClaiming) claim(entry, -1);
    },
    claims: (unit) => claims[unit],
    takeOverdue(now) {
      const overdue: LeaseEntry[] = [];
      for (let next = deadlines.peek(); next && next.time <= now; next = deadlines.peek()) {
        deadlines.pop();
        overdue.push(next.item);
      }
      for (const entry of overdue)
        if (!entry.overdue) deadlines.push(now + entry.deadlineAt - entry.issuedAt, entry);
      return overdue;
    },
    late: () => late,
    takeLate(now) {
      let isNew = false;
      for (let next = lates.peek(); next && next.time <= now; next = lates.peek()) {
        lates.pop();
        late.add(next.item);
        isNew = true;
      }
      return isNew;
    },
    nextChange() {
      const late = lates.peek()?.time ?? Number.POSITIVE_INFINITY;
      const next = Math.min(late, deadlines.peek()?.time ?? Number.POSITIVE_INFINITY);
      return Number.isFinite(next) ? next : undefined;
    },
    lastExpected: () => -(expected.peek()?.time ?? Number.POSITIVE_INFINITY),
    *slowest() {
      const passed = new Set<LeaseEntry>();
      try {
        for (let entry = lone.pop(); entry; entry = lone.pop()) {
          if (passed.has(entry)) continue; // it was left alone more than once
          passed.add(entry);
          yield entry;
        }
      } finally {
        for (const entry of passed) lone.push(-entry.expectedAt, entry);
      }
    },
    refusalOf(lease) {
      const entry = entries.get(lease);
      if (!entry) return lease <= highest ? "STALE" : "LEASE";
      return entry.closedAs ?? "DUPLICATE";
    },
    reset(unitCount) {
      entries = new Map();
      standing = new Set();
      byVolunteer = new Map();
      byUnit = new Array(unitCount);
      claims = new Uint16Array(unitCount);
      late.clear();
      deadlines.clear();
      lates.clear();
      expected.clear();
      lone.clear();
    },
  };
}
