/**
 * The volunteer's state machine: what happened goes in, what to do comes out. It owns no socket,
 * clock or thread, so every order of leases, verdicts, pauses and lost connections can be tested.
 */

import type {
  Abandon,
  Lease,
  Notice,
  Refusal,
  RunStatus,
  Welcome,
} from "@swarmvit/shared/protocol";
import type { LeaseProgress } from "./compute-port.ts";
import { addVerdict } from "./contribution.ts";
import { problemOfFailure } from "./problems.ts";
import type {
  Advance,
  Ending,
  HeldLease,
  VolunteerEffect,
  VolunteerEvent,
  VolunteerState,
} from "./volunteer-state.ts";

/** Leases held at once: one computing, the next one downloading (or the last one uploading). */
export const HELD_LEASES = 2;
/** The same failure this many times in a row is the device's, not chance's. */
const STRIKES = 3;
/** The thread is made anew this often, without an accepted contribution between, before the device is given up. */
const RESTARTS = 3;
/** After these the thread's device cannot be trusted any more. */
const NEED_RESTART: readonly string[] = ["device-lost", "out-of-memory", "non-finite"];
/** How fast the moving average of images a second forgets. */
const SPEED_MEMORY = 0.8;

/** The state after an event, and what has to be done about it, in order. Nothing happens after the end. */
export function advance(state: VolunteerState, event: VolunteerEvent): Advance {
  if (state.ended) return { state, effects: [] };
  switch (event.type) {
    case "device":
      return {
        state: { ...state, device: event.device, wrongDevice: event.wrong },
        effects: [],
      };
    case "connected": {
      const { identity } = state;
      const resume = identity && { id: identity.id, secret: identity.secret };
      return { state: { ...state, link: "greeting" }, effects: [{ type: "hello", resume }] };
    }
    case "disconnected":
      return { state: { ...state, link: "offline" }, effects: [] };
    case "welcome":
      return welcomed(state, event.welcome);
    case "turned-away":
      return turnedAway(state, event.refusal);
    case "opened": {
      const ready = { ...state, ready: true };
      return schedule(ready, wantEffect(ready));
    }
    case "lease":
      return leased(state, event.lease);
    case "progress":
      return { state: progressed(state, event.progress), effects: [] };
    case "computed":
      return computed(state, event.lease);
    case "failed":
      return failed(state, event);
    case "thread-died":
      return restart(state, "device-lost", event.detail);
    case "sent":
      return { state: withStage(state, event.lease, "sent"), effects: [] };
    case "upload-refused": {
      if (!holds(state, event.lease)) return { state, effects: [] };
      const { code, message } = event.refusal;
      const contribution = addVerdict(state.contribution, { accepted: false, code });
      return drop({ ...state, contribution, message }, [event.lease]);
    }
    case "verdict": {
      const contribution = addVerdict(state.contribution, event.verdict);
      const message = event.verdict.message ?? state.message;
      const restarts = event.verdict.accepted ? 0 : state.restarts;
      return drop({ ...state, contribution, message, restarts }, [event.verdict.lease]);
    }
    case "revoke":
      return drop(state, [event.revoke.lease]);
    case "status":
      return updated(state, event.status);
    case "notice":
      return noticed(state, event.notice);
    case "pause": {
      const paused = { ...state, paused: true };
      return drop(paused, leaseIds(paused), wantEffect(paused));
    }
    case "resume": {
      const resumed = { ...state, paused: false };
      return schedule(resumed, wantEffect(resumed));
    }
    case "leave":
      return end(state, { reason: "left" });
    case "problem":
      return end(state, { reason: "problem", problem: event.problem, detail: event.detail });
  }
}

function welcomed(before: VolunteerState, welcome: Welcome): Advance {
  const sameSelf = before.identity?.id === welcome.volunteer.id;
  const sameRun = before.run?.id === welcome.run.id;
  const state: VolunteerState = {
    ...before,
    link: "online",
    identity: welcome.volunteer,
    run: welcome.run,
    status: welcome.status,
    ready: before.ready && sameRun,
    message: undefined,
  };
  // A lease belongs to an id and a run: what was held by another is nobody's now.
  const kept = sameSelf && sameRun ? state : { ...state, leases: [] };
  const dropped = sameSelf && sameRun ? [] : before.leases.map(({ lease }) => lease.lease);
  const drops = dropped.map((lease) => ({ type: "drop", lease }) as const);
  if (!kept.ready) return { state: kept, effects: [...drops, { type: "open", run: welcome.run }] };
  const fresh = updated(kept, welcome.status);
  if (fresh.state.ended) return { state: fresh.state, effects: [...drops, ...fresh.effects] };
  const uploads = fresh.state.leases
    .filter(({ stage }) => stage === "sending" || stage === "sent")
    .map(({ lease }) => ({ type: "upload", lease: lease.lease }) as const);
  return {
    state: fresh.state,
    effects: [...drops, ...fresh.effects, ...wantEffect(fresh.state), ...uploads],
  };
}

function turnedAway(state: VolunteerState, refusal: Refusal): Advance {
  const { code, message } = refusal;
  switch (code) {
    case "PROTOCOL":
    case "BUILD": {
      const ended = end(state, { reason: "problem", problem: "outdated", detail: message });
      return {
        state: ended.state,
        effects: [{ type: "outdated", refusal }, ...ended.effects],
      };
    }
    case "FINISHED":
      return end(state, { reason: "finished" });
    case "JOIN_TOKEN":
      return end(state, { reason: "problem", problem: "join-token", detail: message });
    case "REMOVED":
      return end(state, { reason: "problem", problem: "removed", detail: message });
    default: {
      const afterMs = code === "FULL" ? 15_000 : 5_000;
      return { state: { ...state, message }, effects: [{ type: "hello-later", afterMs }] };
    }
  }
}

function leased(state: VolunteerState, lease: Lease): Advance {
  if (holds(state, lease.lease)) return { state, effects: [] }; // told again after a reconnect
  if (state.paused) {
    // It crossed our `want 0` on the wire.
    const abandon = { lease: lease.lease, reason: "paused" } as const;
    return { state, effects: [{ type: "abandon", abandon }] };
  }
  const held = {
    ...state,
    status: movedOn(state.status, lease),
    leases: [...state.leases, { lease, stage: "queued" as const }],
  };
  const next = schedule(held);
  const started = next.effects.some((e) => e.type === "compute" && e.lease === lease);
  if (started) return next;
  return { state: next.state, effects: [...next.effects, { type: "prefetch", lease }] };
}

function progressed(state: VolunteerState, progress: LeaseProgress): VolunteerState {
  const held = state.leases.find(({ lease }) => lease.lease === progress.lease);
  if (!held) return state;
  // Images trained on: an evaluation takes a third of the time and would blur the figure.
  const measured = held.lease.kind === "gradient" && progress.samples > 0;
  if (!measured || progress.milliseconds <= 0) return { ...state, progress };
  const speed = (1000 * progress.samples) / progress.milliseconds;
  const before = state.imagesPerSecond;
  const imagesPerSecond = before > 0 ? SPEED_MEMORY * before + (1 - SPEED_MEMORY) * speed : speed;
  return { ...state, progress, imagesPerSecond };
}

function computed(state: VolunteerState, lease: number): Advance {
  // Revoked while its last unit was at work.
  if (!holds(state, lease)) return { state, effects: [{ type: "drop", lease }] };
  const sending = withStage({ ...state, strikes: { reason: "", count: 0 } }, lease, "sending");
  return schedule(sending, state.link === "online" ? [{ type: "upload", lease }] : []);
}

function failed(state: VolunteerState, event: VolunteerEvent & { type: "failed" }): Advance {
  if (!holds(state, event.lease)) return { state, effects: [] };
  const { lease, reason, sample, detail } = event;
  const abandon: Abandon = { lease, reason, sample, detail: detail.slice(0, 300) };
  const without = forget(state, [lease]);
  const effects: VolunteerEffect[] = [{ type: "abandon", abandon }];
  if (NEED_RESTART.includes(reason)) return restart(without, reason, detail, effects);
  // An undecodable sample is nobody's fault here, and a fetch that fails while offline is expected.
  if (reason === "undecodable" || state.link !== "online") return schedule(without, effects);
  const count = state.strikes.reason === reason ? state.strikes.count + 1 : 1;
  const counted = { ...without, strikes: { reason, count } };
  if (count < STRIKES) return schedule(counted, effects);
  return end(counted, { reason: "problem", problem: problemOfFailure(reason), detail }, effects);
}

function restart(
  state: VolunteerState,
  reason: Abandon["reason"],
  detail: string,
  before: readonly VolunteerEffect[] = [],
): Advance {
  const atWork = state.leases.filter(({ stage }) => stage === "computing");
  const abandons = atWork.map(
    ({ lease }): VolunteerEffect => ({
      type: "abandon",
      abandon: { lease: lease.lease, reason: "device-lost", detail: detail.slice(0, 300) },
    }),
  );
  const without = forget(
    { ...state, ready: false, restarts: state.restarts + 1 },
    atWork.map(({ lease }) => lease.lease),
  );
  const effects = [...before, ...abandons];
  if (without.restarts > RESTARTS)
    return end(without, { reason: "problem", problem: problemOfFailure(reason), detail }, effects);
  if (!without.run) return { state: without, effects };
  return { state: without, effects: [...effects, { type: "restart", run: without.run }] };
}

function updated(state: VolunteerState, status: RunStatus): Advance {
  if (status.phase === "done") return end({ ...state, status }, { reason: "finished" });
  // A step that is over needs no gradient more, whatever became of the message that said so.
  const stale = state.leases
    .filter(({ lease }) => lease.kind === "gradient" && lease.step < status.step)
    .map(({ lease }) => lease.lease);
  return drop({ ...state, status }, stale);
}

function noticed(state: VolunteerState, notice: Notice): Advance {
  const said = { ...state, message: notice.message };
  if (!notice.final) return { state: said, effects: [] };
  return turnedAway(said, {
    ok: false,
    code: notice.code === "FINISHED" ? "FINISHED" : "REMOVED",
    message: notice.message,
  });
}

/** Statuses are sparse and may be lost: a gradient asked for at a newer step says that the run is there. */
function movedOn(status: RunStatus | undefined, lease: Lease): RunStatus | undefined {
  if (!status || lease.kind !== "gradient" || lease.step <= status.step) return status;
  return { ...status, step: lease.step };
}

/** Starts the next lease where nothing is being computed. */
function schedule(state: VolunteerState, before: readonly VolunteerEffect[] = []): Advance {
  const idle = !state.leases.some(({ stage }) => stage === "computing");
  const next = state.leases.find(({ stage }) => stage === "queued");
  if (!state.ready || state.paused || !idle || !next) return { state, effects: before };
  return {
    state: withStage(state, next.lease.lease, "computing"),
    effects: [...before, { type: "compute", lease: next.lease }],
  };
}

/** Forgets leases, has them stopped, and goes on with what is left. */
function drop(
  state: VolunteerState,
  leases: readonly number[],
  after: readonly VolunteerEffect[] = [],
): Advance {
  const drops = leases
    .filter((lease) => holds(state, lease))
    .map((lease) => ({ type: "drop", lease }) as const);
  return schedule(forget(state, leases), [...drops, ...after]);
}

function end(
  state: VolunteerState,
  ending: Ending,
  before: readonly VolunteerEffect[] = [],
): Advance {
  const drops = leaseIds(state).map((lease) => ({ type: "drop", lease }) as const);
  const ended = { ...state, leases: [], progress: undefined, ended: ending };
  return {
    state: ended,
    effects: [...before, ...drops, { type: "leave" }, { type: "end", ending }],
  };
}

function wantEffect(state: VolunteerState): VolunteerEffect[] {
  if (state.link !== "online" || !state.ready) return [];
  return [{ type: "want", leases: state.paused ? 0 : HELD_LEASES }];
}

function holds(state: VolunteerState, lease: number): boolean {
  return state.leases.some((held) => held.lease.lease === lease);
}

function leaseIds(state: VolunteerState): number[] {
  return state.leases.map(({ lease }) => lease.lease);
}

function forget(state: VolunteerState, leases: readonly number[]): VolunteerState {
  const kept = state.leases.filter(({ lease }) => !leases.includes(lease.lease));
  const progress =
    state.progress && leases.includes(state.progress.lease) ? undefined : state.progress;
  return { ...state, leases: kept, progress };
}

function withStage(
  state: VolunteerState,
  lease: number,
  stage: HeldLease["stage"],
): VolunteerState {
  const leases = state.leases.map((held) =>
    held.lease.lease === lease ? { ...held, stage } : held,
  );
  return { ...state, leases };
}
