/** The book of leases of the open work: who was given which node, until when, and what became of it. */

import type { FrameId, RefusalCode } from "@swarmvit/shared/frame";
import type { Unit } from "@swarmvit/shared/planner";
import type { Node } from "@swarmvit/shared/tree";

export interface LeaseEntry {
  readonly id: FrameId;
  readonly volunteer: string;
  readonly node: Node;
  /** Units [first, end). */
  readonly first: number;
  readonly end: number;
  readonly units: readonly Unit[];
  /** Pixels of all samples: what a lease costs to compute, roughly. */
  readonly cost: number;
  /** Exact length of the frame. */
  readonly bytes: number;
  readonly issuedAt: number;
  /** When its upload is expected. */
  readonly expectedAt: number;
  readonly deadlineAt: number;
  /** From then on idle volunteers may be given the node too. */
  lateAt: number;
  /** `open`: being computed; `uploaded`: its frame is in, being checked or waiting for that. */
  state: "open" | "uploaded" | "closed";
  /** Others may be given the node; an answer still counts if it comes first. */
  expired: boolean;
  uploadedAt?: number;
  closedAs?: RefusalCode;
}

export interface LeaseBook {
  open(entry: LeaseEntry): void;
  get(lease: number): LeaseEntry | undefined;
  /** Not closed, oldest first. */
  standing(): Iterable<LeaseEntry>;
  /** Not closed, of one volunteer. */
  of(volunteer: string): readonly LeaseEntry[];
  upload(entry: LeaseEntry, now: number): void;
  expire(entry: LeaseEntry): void;
  close(entry: LeaseEntry, code: RefusalCode): void;
  /** Leases that count on computing this unit: neither expired nor closed. */
  claims(unit: number): number;
  /** Why a lease number cannot be answered. */
  refusalOf(lease: number): RefusalCode;
  /** Forgets all leases: they were for work that is over. */
  reset(unitCount: number): void;
}

/**
 * Opens an empty book; lease numbers below the first one of the open work are `STALE`, and so are
 * those up to `earlier`, of earlier lives of the coordinator.
 */
export function openLeaseBook(earlier: number): LeaseBook {
  let entries = new Map<number, LeaseEntry>();
  let standing = new Set<LeaseEntry>();
  let byVolunteer = new Map<string, Set<LeaseEntry>>();
  let claims = new Uint16Array(0);
  let highest = earlier;

  const claim = (entry: LeaseEntry, by: 1 | -1) => {
    for (let unit = entry.first; unit < entry.end; unit++) claims[unit] += by;
  };
  const isClaiming = (entry: LeaseEntry) =>
    entry.state === "uploaded" || (entry.state === "open" && !entry.expired);

  return {
    open(entry) {
      entries.set(entry.id.lease, entry);
      standing.add(entry);
      const own = byVolunteer.get(entry.volunteer) ?? new Set();
      own.add(entry);
      byVolunteer.set(entry.volunteer, own);
      highest = Math.max(highest, entry.id.lease);
      claim(entry, 1);
    },
    get: (lease) => entries.get(lease),
    standing: () => standing,
    of: (volunteer) => [...(byVolunteer.get(volunteer) ?? [])],
    upload(entry, now) {
      if (!isClaiming(entry)) claim(entry, 1);
      entry.state = "uploaded";
      entry.uploadedAt = now;
    },
    expire(entry) {
      if (isClaiming(entry)) claim(entry, -1);
      entry.expired = true;
    },
    close(entry, code) {
      if (isClaiming(entry)) claim(entry, -1);
      entry.state = "closed";
      entry.closedAs = code;
      standing.delete(entry);
      byVolunteer.get(entry.volunteer)?.delete(entry);
    },
    claims: (unit) => claims[unit],
    refusalOf(lease) {
      const entry = entries.get(lease);
      if (!entry) return lease <= highest ? "STALE" : "LEASE";
      return entry.closedAs ?? "DUPLICATE";
    },
    reset(unitCount) {
      entries = new Map();
      standing = new Set();
      byVolunteer = new Map();
      claims = new Uint16Array(unitCount);
    },
  };
}
