/** The volunteers: who they are, how fast, and how they have done. */

import type { Device, Hello } from "@swarmvit/shared/protocol";
import type { CoreTools } from "./messages.ts";

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
  /** Pixels a millisecond from lease to upload, moving average; absent until it has answered once. */
  speed?: number;
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
}

export interface Roster {
  get(id: string): Volunteer | undefined;
  all(): Iterable<Volunteer>;
  /** Connected, neither paused nor removed. */
  available(): Volunteer[];
  connectedCount(): number;
  /** A newcomer, or who it says it was if the secret is right. */
  admit(hello: Hello, now: number): { volunteer: Volunteer; returned: boolean };
  /** Drops those long gone, so that the table stays small. */
  prune(now: number): void;
}

const FORGET_AFTER_MS = 10 * 60_000;
const KEPT_GONE = 50;

/** Opens an empty roster. Secrets are MACs of ids, so a volunteer keeps its id over a restart. */
export function openRoster(tools: CoreTools, run: string): Roster {
  const volunteers = new Map<string, Volunteer>();
  let joined = 0;
  const secretOf = (id: string) => tools.mac(`volunteer ${run} ${id}`);

  return {
    get: (id) => volunteers.get(id),
    all: () => volunteers.values(),
    available: () => [...volunteers.values()].filter(isAvailable),
    connectedCount: () => count(volunteers.values(), (v) => v.connected),
    admit(hello, now) {
      const proven =
        hello.resume && isSame(secretOf(hello.resume.id), hello.resume.secret)
          ? hello.resume
          : undefined;
      const known = proven && volunteers.get(proven.id);
      if (known) {
        known.device = hello.device;
        if (hello.name) known.name = clean(hello.name) || known.name;
        known.connected = true;
        known.lastSeenAt = now;
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
      };
      volunteers.set(id, volunteer);
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

/** False for those whose leases keep coming to nothing: no unit waits for them. */
export function isPromising(volunteer: Volunteer): boolean {
  return volunteer.failures < 3;
}

/** A lease came to nothing: a rest that doubles with each in a row, so that nothing runs hot. */
export function rest(volunteer: Volunteer, now: number, baseMs: number, silent: boolean): void {
  volunteer.failures++;
  const wait = Math.min(60_000, baseMs * 2 ** Math.min(10, volunteer.failures - 1));
  volunteer.restUntil = Math.max(volunteer.restUntil, now + wait);
  volunteer.silent = silent;
}

/** It was heard from: a rest for silence is over. */
export function hear(volunteer: Volunteer, now: number): void {
  volunteer.lastSeenAt = now;
  if (volunteer.silent) {
    volunteer.restUntil = now;
    volunteer.silent = false;
  }
}

/** Takes a measurement of a finished lease into the moving averages. */
export function measure(
  volunteer: Volunteer,
  cost: number,
  samples: number,
  startedAt: number,
  endedAt: number,
): void {
  const elapsed = Math.max(1, endedAt - Math.max(startedAt, volunteer.lastUploadAt));
  const mix = (old: number | undefined, value: number) => (old ? old + 0.3 * (value - old) : value);
  volunteer.speed = mix(volunteer.speed, cost / elapsed);
  volunteer.imagesPerSecond = mix(volunteer.imagesPerSecond, (1000 * samples) / elapsed);
}

/** An unfinished lease shows only that it is no faster than this. */
export function boundSpeed(volunteer: Volunteer, cost: number, elapsedMs: number): void {
  if (volunteer.speed !== undefined && elapsedMs > 0)
    volunteer.speed = Math.min(volunteer.speed, cost / elapsedMs);
}

function count<T>(items: Iterable<T>, test: (item: T) => boolean): number {
  let n = 0;
  for (const item of items) if (test(item)) n++;
  return n;
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
