/** What the join page knows, as signals: the run before joining, the session after, the device. */

import { batch, computed, signal } from "@preact/signals";
import type { RunState } from "@swarmvit/shared/run";
import { BACKENDS, type BackendName } from "../client/compute-port.ts";
import {
  addContributions,
  loadContribution,
  NO_CONTRIBUTION,
  saveContribution,
} from "../client/contribution.ts";
import { findAdapter as askForAdapter } from "../client/executors.ts";
import { tokenOf } from "../client/join-link.ts";
import { inventName } from "../client/names.ts";
import { gpuProblem, type Problem, problemOf, type Surroundings } from "../client/problems.ts";
import { openSession, type Session } from "../client/session.ts";
import { stateWord, type VolunteerState } from "../client/volunteer-state.ts";
import { openPageThread } from "../thread/open-page-thread.ts";
import { reloadOnce } from "./reload-once.ts";

const NAME_KEY = "swarmvit.name";
const THROTTLE_KEY = "swarmvit.throttle";

/** The run as anybody may see it, before joining; undefined while unknown. */
export const run = signal<RunState>();
export const runUnreachable = signal(false);
export const surroundings = signal<Surroundings>({
  secure: isSecureContext,
  webgpu: "gpu" in navigator,
  adapter: "unknown",
  userAgent: navigator.userAgent,
});
export const name = signal(stored(NAME_KEY) ?? inventName(Math.random()));
export const throttle = signal(Number(stored(THROTTLE_KEY) ?? 100));
export const hidden = signal(document.hidden);

/** The volunteer, from Start until the page goes away or another Start. */
export const volunteer = signal<VolunteerState>();
let session: Session | undefined;

export const word = computed(() => (volunteer.value ? stateWord(volunteer.value) : undefined));
/** It takes part: from Start to its end. */
export const joined = computed(() => volunteer.value !== undefined && !volunteer.value.ended);
export const problem = computed((): Problem | undefined => {
  const ended = volunteer.value?.ended;
  if (ended?.reason === "problem") return problemOf(ended.problem, navigator.userAgent);
  return undefined;
});
/** Why it computes on the processor, or will. */
export const notice = computed(() =>
  volunteer.value?.wrongDevice
    ? problemOf("gpu-failed-self-test", navigator.userAgent)
    : gpuProblem(surroundings.value),
);
export const bytesSent = signal(0);

const earlier = signal(NO_CONTRIBUTION);
/** This visit and earlier ones to the same run, on this device. */
export const contribution = computed(() =>
  addContributions(earlier.value, volunteer.value?.contribution ?? NO_CONTRIBUTION),
);

/** From `?backend=`, for tests and for people whose GPU misbehaves. */
export const backend: BackendName =
  BACKENDS.find((known) => known === new URLSearchParams(location.search).get("backend")) ?? "auto";
export const autostart = new URLSearchParams(location.search).has("autostart");

/** Asks what is trained here, and what this browser offers. Nothing heavy. */
export async function lookAround(): Promise<void> {
  document.addEventListener("visibilitychange", () => {
    hidden.value = document.hidden;
  });
  await Promise.all([loadRun(), findAdapter()]);
}

/** Starts to take part; from here on the device is busy. */
export function start(): void {
  if (joined.value) return;
  const known = run.value?.id;
  earlier.value = known ? loadContribution(localStorageOrNone(), known) : NO_CONTRIBUTION;
  const opened = openSession({
    origin: location.origin,
    token: tokenOf(location.hash),
    build: __BUILD_ID__,
    name: name.value.trim().slice(0, 40) || undefined,
    backend,
    throttle: throttle.value,
    openThread: openPageThread,
    onState: (state) => {
      if (session === opened) show(state);
    },
    onOutdated: reloadOnce,
  });
  session = opened;
  show(opened.state());
}

export function pause(): void {
  session?.pause();
}

export function resume(): void {
  session?.resume();
}

export function leave(): void {
  session?.leave();
}

export function setName(text: string): void {
  name.value = text;
  store(NAME_KEY, text);
}

export function setThrottle(percent: number): void {
  throttle.value = percent;
  store(THROTTLE_KEY, String(percent));
  session?.setThrottle(percent);
}

function show(state: VolunteerState): void {
  batch(() => {
    const before = volunteer.value?.run?.id;
    volunteer.value = state;
    bytesSent.value = session?.bytesSent() ?? 0;
    if (state.run && state.run.id !== before)
      earlier.value = loadContribution(localStorageOrNone(), state.run.id);
  });
  if (state.run && state.contribution !== NO_CONTRIBUTION)
    saveContribution(localStorageOrNone(), state.run.id, contribution.value);
}

async function loadRun(): Promise<void> {
  try {
    const response = await fetch("/api/run", { cache: "no-store" });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    run.value = await response.json();
    runUnreachable.value = false;
  } catch {
    runUnreachable.value = true;
  }
}

async function findAdapter(): Promise<void> {
  if (!surroundings.value.webgpu) return;
  // A browser that fails to answer offers none.
  const adapter = await askForAdapter().then(
    ({ kind }) => kind,
    () => "none" as const,
  );
  surroundings.value = { ...surroundings.value, adapter };
}

function stored(key: string): string | undefined {
  try {
    return localStorage.getItem(key) ?? undefined;
  } catch {
    return undefined; // storage is blocked
  }
}

function store(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Then it lasts as long as the page.
  }
}

function localStorageOrNone(): Pick<Storage, "getItem" | "setItem"> {
  try {
    return localStorage;
  } catch {
    return { getItem: () => null, setItem: () => {} };
  }
}
