/** The volunteers: who they are, how fast, and how they have done. */

import type { Device, Hello } from "@swarmvit/shared/protocol";
import type { CoreTools, PublishedWeights } from "./messages.ts";
import { openPace, type Pace, type Start } from "./pace.ts";
import { openTimeHeap } from "./time-heap.ts";

export interface Volunteer {
  readonly id: string;
  readonly secret: string;
  readonly joinedAt: number;
  name: string;
  device: Device;
  connected: boolean;
  removed: boolean;
  /** Leases it wants to hold at once; 0 is a pause. */
  want: number;
  readonly pace: Pace;
  imagesPerSecond: number;
  /** When its last frame arrived: the next lease's work starts no earlier. */
  lastUploadAt: number;
  accepted: number;
  refused: number;
  expired: number;
  samples: number;
  lastStep: number;
  /** Refusals in a row that only a wrong program makes. */
  malformedStreak: number;
  /** Leases in a row that came to nothing; each doubles the rest. */
  failures: number;
  /** It gets no lease before. */
  restUntil: number;
  /** It rests because it was silent, so hearing from it ends the rest. */
  silent: boolean;
  /** Sizes "HxWxB" that it ran out of memory at: given to others if there are any. */
  readonly tooLarge: Set<string>;
  lastSeenAt: number;

  /** Levels of the nodes of the open work that it is still to be given, in order; and when it could begin them. */
  share: number[];
  readyAt: number;
  /** The weights that it was given a lease at last: it has them, or will when it needs them. */
  weights?: string;
  /** Pixels of an image of its last lease. */
  lastArea: number;
  /** Every unit of this work fits its memory, or not. */
  fitsWork?: object;
  fitsAll: boolean;
}

/** What others decide about a volunteer, and its coming and going. */
type Presence = Pick<Volunteer, "connected" | "removed" | "want">;

export interface Roster {
  get(id: string): Volunteer | undefined;
  all(): Iterable<Volunteer>;
  /** Connected, neither paused nor removed. */
  available(): ReadonlySet<Volunteer>;
  update(volunteer: Volunteer, change: Partial<Presence>): void;
  /** A lease came to nothing: a rest that doubles with each in a row, so that nothing runs hot. */
  rest(volunteer: Volunteer, now: number, baseMs: number, silent: boolean): void;
  /** Those whose rest has ended, once each. */
  rested(now: number): Volunteer[];
  /** When the next rest ends. */
  nextRested(): number | undefined;
  connectedCount(): number;
  /** A newcomer, or who it says it was if the secret is right. */
  admit(hello: Hello, now: number): { volunteer: Volunteer; returned: boolean };
  /** Drops those long gone, so that the table stays small. */
  prune(now: number): void;
}

const FORGET_AFTER_MS = 10 * 60_000;
const KEPT_GONE = 50;
/** No longer than a first deadline: a swarm of one must not stand still for its mishaps. */
const LONGEST_REST_MS = 30_000;

/**
 * Opens an empty roster. Secrets are MACs of ids, so a volunteer keeps its id over a restart.
 * `changed` hears when somebody became available, or is not any more.
 */
export function openRoster(
  tools: CoreTools,
  run: string,
  changed: (volunteer: Volunteer) => void,
): Roster {
  const volunteers = new Map<string, Volunteer>();
  const available = new Set<Volunteer>();
  const connected = new Set<Volunteer>();
  const rests = openTimeHeap<Volunteer>((volunteer, time) => volunteer.restUntil === time);
  let joined = 0;
  const update = (volunteer: Volunteer, change: Partial<Presence>) => {
    Object.assign(volunteer, change);
    if (volunteer.connected) connected.add(volunteer);
    else connected.delete(volunteer);
    if (available.has(volunteer) === isAvailable(volunteer)) return;
    if (isAvailable(volunteer)) available.add(volunteer);
    else available.delete(volunteer);
    changed(volunteer);
  };
  const secretOf = (id: string) => tools.mac(`volunteer ${run} ${id}`);

  return {
    get: (id) => volunteers.get(id),
    all: () => volunteers.values(),
    available: () => available,
    connectedCount: () => connected.size,
    update,
    rest(volunteer, now, baseMs, silent) {
      volunteer.failures++;
      const wait = Math.min(LONGEST_REST_MS, baseMs * 2 ** Math.min(10, volunteer.failures - 1));
      volunteer.restUntil = Math.max(volunteer.restUntil, now + wait);
      volunteer.silent = silent;
      rests.push(volunteer.restUntil, volunteer);
    },
    rested(now) {
      const rested: Volunteer[] = [];
      for (let next = rests.peek(); next && next.time <= now; next = rests.peek()) {
        rests.pop();
        if (available.has(next.item)) rested.push(next.item);
      }
      return rested;
    },
    nextRested: () => rests.peek()?.time,
    admit(hello, now) {
      const proven =
        hello.resume && isSame(secretOf(hello.resume.id), hello.resume.secret)
          ? hello.resume
          : undefined;
      const known = proven && volunteers.get(proven.id);
      if (known) {
        known.device = hello.device;
        if (hello.name) known.name = clean(hello.name) || known.name;
        known.lastSeenAt = now;
        update(known, { connected: true });
        return { volunteer: known, returned: true };
      }
      joined++;
      const id = proven?.id ?? tools.freshId();
      const volunteer: Volunteer = {
        id,
        secret: secretOf(id),
        joinedAt: now,
        name: clean(hello.name ?? "") || `device ${joined}`,
        device: hello.device,
        connected: true,
        removed: false,
        want: 0,
        imagesPerSecond: 0,
        lastUploadAt: 0,
        accepted: 0,
        refused: 0,
        expired: 0,
        samples: 0,
        lastStep: 0,
        malformedStreak: 0,
        failures: 0,
        restUntil: 0,
        silent: false,
        tooLarge: new Set(),
        lastSeenAt: now,
        pace: openPace(),
        share: [],
        readyAt: now,
        lastArea: 0,
        fitsAll: false,
      };
      volunteers.set(id, volunteer);
      update(volunteer, {});
      return { volunteer, returned: proven !== undefined };
    },
    prune(now) {
      const gone = [...volunteers.values()]
        .filter((v) => !v.connected && !v.removed && now - v.lastSeenAt > FORGET_AFTER_MS)
        .sort((a, b) => a.lastSeenAt - b.lastSeenAt);
      for (const v of gone.slice(0, Math.max(0, gone.length - KEPT_GONE))) volunteers.delete(v.id);
    },
  };
}

export function isAvailable(volunteer: Volunteer): boolean {
  return volunteer.connected && !volunteer.removed && volunteer.want > 0;
}

/** What a lease waits for that is given to a volunteer with nothing in hand. */
export function startOf(
  { weights }: { readonly weights: PublishedWeights },
  volunteer: Volunteer,
): Start {
  if (volunteer.weights === undefined) return "newcomer";
  return volunteer.weights === weights.parameters ? "idle" : "weights";
}

/** False for those whose leases keep coming to nothing: no unit waits for them. */
export function isPromising(volunteer: Volunteer): boolean {
  return volunteer.failures < 3;
}

/** It was heard from: a rest for silence is over. */
export function hear(volunteer: Volunteer, now: number): void {
  volunteer.lastSeenAt = now;
  if (volunteer.silent) {
    volunteer.restUntil = now;
    volunteer.silent = false;
  }
}

/** Control characters have no place in a name that is shown and logged. */
function clean(name: string): string {
  return name.replace(/\p{C}/gu, "").trim().slice(0, 40);
}

/** Without an early exit: the time tells nothing about how much of a guess was right. */
function isSame(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ (b.charCodeAt(i) || 0);
  return difference === 0;
}
