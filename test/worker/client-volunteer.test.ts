/** The volunteer's state machine: what it does about leases, verdicts, pauses and lost links. */

import type { Refusal } from "@swarmvit/shared/protocol";
import { advance } from "@swarmvit/worker/client/volunteer";
import {
  newVolunteer,
  stateWord,
  type VolunteerEffect,
  type VolunteerEvent,
  type VolunteerState,
} from "@swarmvit/worker/client/volunteer-state";
import { describe, expect, test } from "vitest";
import { tinyLease, tinyRun, trainingStatus, welcomeTo } from "../support/fake-coordinator.ts";

/** Runs events from a state; the effects are of all of them, in order. */
function play(
  state: VolunteerState,
  ...events: readonly VolunteerEvent[]
): { state: VolunteerState; effects: VolunteerEffect[] } {
  const effects: VolunteerEffect[] = [];
  let now = state;
  for (const event of events) {
    const next = advance(now, event);
    now = next.state;
    effects.push(...next.effects);
  }
  return { state: now, effects };
}

const lease = (id: number, step = 0) =>
  ({ type: "lease", lease: tinyLease({ lease: id, step }) }) as const;
const refusal = (code: Refusal["code"]) => ({ ok: false, code, message: code }) as const;
const verdict = (id: number, accepted: boolean) =>
  ({
    type: "verdict",
    verdict: { lease: id, accepted, samples: accepted ? 2 : 0, contributions: 1 },
  }) as const;
const welcome = { type: "welcome", welcome: welcomeTo(tinyRun) } as const;
const joined = play(newVolunteer(), { type: "connected" }, welcome, { type: "opened" }).state;
const types = (effects: readonly VolunteerEffect[]) => effects.map(({ type }) => type);

describe("joining", () => {
  test("says hello, opens the model, and asks for leases only then", () => {
    const connected = play(newVolunteer(), { type: "connected" });
    expect(connected.effects).toEqual([{ type: "hello", resume: undefined }]);
    expect(stateWord(connected.state)).toBe("Connecting");
    const welcomed = play(connected.state, welcome);
    expect(welcomed.effects).toEqual([{ type: "open", run: tinyRun }]);
    expect(stateWord(welcomed.state)).toBe("Downloading model");
    const opened = play(welcomed.state, { type: "opened" });
    expect(opened.effects).toEqual([{ type: "want", leases: 2 }]);
    expect(stateWord(opened.state)).toBe("Waiting for others");
  });

  test.each([
    ["JOIN_TOKEN", "join-token"],
    ["REMOVED", "removed"],
    ["PROTOCOL", "outdated"],
    ["BUILD", "outdated"],
  ] as const)("ends when turned away with %s", (code, problem) => {
    const { state, effects } = play(
      newVolunteer(),
      { type: "connected" },
      { type: "turned-away", refusal: refusal(code) },
    );
    expect(state.ended).toMatchObject({ reason: "problem", problem });
    expect(types(effects).includes("outdated")).toBe(problem === "outdated");
  });

  test("waits and asks again when the run is full, and thanks when it is over", () => {
    const full = play(newVolunteer(), { type: "turned-away", refusal: refusal("FULL") });
    expect(full.effects).toEqual([{ type: "hello-later", afterMs: 15_000 }]);
    const over = play(newVolunteer(), { type: "turned-away", refusal: refusal("FINISHED") });
    expect(over.state.ended).toEqual({ reason: "finished" });
  });
});

describe("leases", () => {
  test("computes one, prefetches the next, and sends while the next computes", () => {
    const two = play(joined, lease(1), lease(2));
    expect(two.effects).toMatchObject([
      { type: "compute", lease: { lease: 1 } },
      { type: "prefetch", lease: { lease: 2 } },
    ]);
    expect(stateWord(two.state)).toBe("Computing");
    const next = play(two.state, { type: "computed", lease: 1 });
    expect(next.effects).toMatchObject([
      { type: "upload", lease: 1 },
      { type: "compute", lease: { lease: 2 } },
    ]);
    const answered = play(next.state, { type: "sent", lease: 1 }, verdict(1, true));
    expect(answered.state.leases.map(({ lease: held }) => held.lease)).toEqual([2]);
    expect(answered.state.contribution).toMatchObject({ accepted: 1, samples: 2 });
  });

  test("a lease told twice is computed once", () => {
    expect(types(play(joined, lease(1), lease(1)).effects)).toEqual(["compute"]);
  });

  test("drops what is revoked, sends nothing of it, and takes the next", () => {
    const { state, effects } = play(joined, lease(1), lease(2), {
      type: "revoke",
      revoke: { lease: 1, code: "DUPLICATE" },
    });
    expect(effects.slice(2)).toMatchObject([
      { type: "drop", lease: 1 },
      { type: "compute", lease: { lease: 2 } },
    ]);
    // Its last unit was at work and comes out all the same.
    const late = play(state, { type: "computed", lease: 1 });
    expect(late.effects).toEqual([{ type: "drop", lease: 1 }]);
  });

  test("drops gradients of a step that is over, keeps evaluations", () => {
    const evaluation = tinyLease({ lease: 7, kind: "evaluation", step: 0 });
    const { state } = play(joined, lease(1), { type: "lease", lease: evaluation }, lease(2, 3), {
      type: "status",
      status: { ...trainingStatus, step: 3 },
    });
    expect(state.leases.map(({ lease: held }) => held.lease)).toEqual([7, 2]);
  });

  test("counts late and refused work apart", () => {
    const { state } = play(
      joined,
      lease(1),
      { type: "computed", lease: 1 },
      { type: "upload-refused", lease: 1, refusal: refusal("STALE") },
      lease(2),
      { type: "computed", lease: 2 },
      { type: "upload-refused", lease: 2, refusal: refusal("NON_FINITE") },
    );
    expect(state.contribution).toEqual({ samples: 0, accepted: 0, late: 1, refused: 1 });
    expect(state.leases).toEqual([]);
  });

  test("hands an undecodable sample back by name, without holding it against the device", () => {
    const failed = (id: number): VolunteerEvent[] => [
      lease(id),
      { type: "failed", lease: id, reason: "undecodable", sample: 4, detail: "not a PNG" },
    ];
    const { state, effects } = play(joined, ...[1, 2, 3, 4].flatMap(failed));
    expect(effects.at(-1)).toEqual({
      type: "abandon",
      abandon: { lease: 4, reason: "undecodable", sample: 4, detail: "not a PNG" },
    });
    expect(state.ended).toBeUndefined();
  });

  test("stops after the same failure three times in a row, not after three in a life", () => {
    const failed = (id: number): VolunteerEvent[] => [
      lease(id),
      { type: "failed", lease: id, reason: "weights", detail: "HTTP 500" },
    ];
    const done: VolunteerEvent[] = [lease(9), { type: "computed", lease: 9 }, verdict(9, true)];
    const mixed = play(joined, ...failed(1), ...failed(2), ...done, ...failed(3));
    expect(mixed.state.ended).toBeUndefined();
    const row = play(joined, ...failed(1), ...failed(2), ...failed(3));
    expect(row.state.ended).toMatchObject({ reason: "problem", problem: "download" });
    expect(types(row.effects).slice(-2)).toEqual(["leave", "end"]);
  });
});

describe("a lost link", () => {
  const sending = play(joined, lease(1), { type: "computed", lease: 1 }, lease(2)).state;

  test("comes back as the same volunteer, and goes on with what it holds", () => {
    const { state, effects } = play(
      sending,
      { type: "disconnected" },
      { type: "computed", lease: 2 }, // no upload while offline
      { type: "connected" },
      welcome,
    );
    expect(effects).toEqual([
      { type: "hello", resume: { id: "v1", secret: "s1" } },
      { type: "want", leases: 2 },
      { type: "upload", lease: 1 },
      { type: "upload", lease: 2 },
    ]);
    expect(state.leases).toHaveLength(2);
  });

  test("drops everything when it comes back as another, or to another run", () => {
    const other = welcomeTo({ ...tinyRun, id: "ffffffffffffffff" });
    const { state, effects } = play(
      sending,
      { type: "disconnected" },
      { type: "connected" },
      { type: "welcome", welcome: other },
    );
    expect(types(effects)).toEqual(["hello", "drop", "drop", "open"]);
    expect(state.leases).toEqual([]);
  });

  test("drops leases whose step ended meanwhile", () => {
    const later = welcomeTo(tinyRun, { ...trainingStatus, step: 5 });
    const { state } = play(
      sending,
      { type: "disconnected" },
      { type: "connected" },
      { type: "welcome", welcome: later },
    );
    expect(state.leases).toEqual([]);
  });
});

describe("people's wishes", () => {
  test("pause hands work back at once, resume asks for more", () => {
    const paused = play(joined, lease(1), lease(2), { type: "pause" });
    expect(paused.effects.slice(2)).toEqual([
      { type: "drop", lease: 1 },
      { type: "drop", lease: 2 },
      { type: "want", leases: 0 },
    ]);
    expect(stateWord(paused.state)).toBe("Paused by you");
    const crossed = play(paused.state, lease(3));
    expect(crossed.effects).toEqual([{ type: "abandon", abandon: { lease: 3, reason: "paused" } }]);
    const resumed = play(paused.state, { type: "resume" });
    expect(resumed.effects).toEqual([{ type: "want", leases: 2 }]);
  });

  test("a pause outlives a reconnect", () => {
    const { effects } = play(
      joined,
      { type: "pause" },
      { type: "disconnected" },
      { type: "connected" },
      welcome,
    );
    expect(effects.at(-1)).toEqual({ type: "want", leases: 0 });
  });

  test("leaving says goodbye once, and nothing happens after", () => {
    const left = play(joined, lease(1), { type: "leave" });
    expect(types(left.effects)).toEqual(["compute", "drop", "leave", "end"]);
    expect(play(left.state, lease(2), { type: "connected" }, { type: "leave" }).effects).toEqual(
      [],
    );
  });
});

describe("the device and the host", () => {
  test("a lost device gets a new thread; after three without a success it is given up", () => {
    const lost = (id: number): VolunteerEvent[] => [
      lease(id),
      { type: "failed", lease: id, reason: "device-lost", detail: "reset" },
      { type: "opened" },
    ];
    const once = play(joined, ...lost(1));
    expect(types(once.effects)).toEqual(["compute", "abandon", "restart", "want"]);
    const often = play(joined, ...lost(1), ...lost(2), ...lost(3), ...lost(4));
    expect(often.state.ended).toMatchObject({ problem: "device-lost" });
    const mended: VolunteerEvent[] = [lease(9), { type: "computed", lease: 9 }, verdict(9, true)];
    const between = play(joined, ...lost(1), ...lost(2), ...mended, ...lost(3), ...lost(4));
    expect(between.state.ended).toBeUndefined();
  });

  test("a dead thread hands back what it computed, and keeps what is being sent", () => {
    const { state, effects } = play(joined, lease(1), { type: "computed", lease: 1 }, lease(2), {
      type: "thread-died",
      detail: "exit code 1",
    });
    expect(effects.slice(-2)).toMatchObject([
      { type: "abandon", abandon: { lease: 2, reason: "device-lost" } },
      { type: "restart" },
    ]);
    expect(state.leases.map(({ lease: held }) => held.lease)).toEqual([1]);
  });

  test("says who paused, and ends when the run is done", () => {
    const held = play(joined, { type: "status", status: { ...trainingStatus, phase: "diverged" } });
    expect(stateWord(held.state)).toBe("Paused by the host");
    const done = play(held.state, { type: "status", status: { ...trainingStatus, phase: "done" } });
    expect(done.state.ended).toEqual({ reason: "finished" });
    expect(stateWord(done.state)).toBe("Finished");
  });

  test("measures the speed of training, not of evaluation", () => {
    const progress = (id: number, milliseconds: number): VolunteerEvent => ({
      type: "progress",
      progress: {
        ...{ lease: id, stage: "computing", done: 1, units: 1, height: 32, width: 32 },
        ...{ samples: 10, milliseconds },
      },
    });
    const evaluation = tinyLease({ lease: 2, kind: "evaluation" });
    const { state } = play(
      joined,
      lease(1),
      progress(1, 1000),
      { type: "lease", lease: evaluation },
      progress(2, 10),
    );
    expect(state.imagesPerSecond).toBe(10);
  });
});
