import type { Effect } from "@swarmvit/coordinator/core/messages";
import { openSession } from "@swarmvit/coordinator/core/session";
import { NO_FAULTS } from "@swarmvit/coordinator/simulate/faults";
import { runSwarm } from "@swarmvit/coordinator/simulate/swarm";
import { TINY_PLAN } from "@swarmvit/coordinator/simulate/tiny-run";
import { wildSwarm } from "@swarmvit/coordinator/simulate/wild";
import { openPlanner } from "@swarmvit/shared/planner";
import { PROTOCOL_VERSION } from "@swarmvit/shared/protocol";
import { unitRange } from "@swarmvit/shared/tree";
import { describe, expect, test } from "vitest";
import { answerOf, deskOptions, openDesk } from "./core-desk.ts";

const device = {
  executor: "wasm" as const,
  description: "desk",
  deterministic: true,
  software: false,
  platform: "test",
  memoryBytes: 0,
};

function eventsOf(log: readonly Effect[]): string[] {
  return log.flatMap((effect) =>
    effect.type === "record" && effect.record.kind === "event" ? [effect.record.what] : [],
  );
}

describe("leases", () => {
  test("one volunteer is enough: the whole run, with its evaluations and checkpoints", () => {
    const desk = openDesk();
    desk.join();
    desk.work();
    const { totalSteps } = openPlanner({ ...TINY_PLAN, unitCount: 4, epochs: 1 });
    expect(desk.of("commit").map(({ step }) => step)).toEqual(
      Array.from({ length: totalSteps }, (_, i) => i),
    );
    expect(desk.of("checkpoint").map(({ step, final }) => [step, final])).toEqual([
      [5, false],
      [totalSteps, true],
    ]);
    expect(desk.of("finished")).toEqual([{ type: "finished", reason: "done", detail: undefined }]);
    expect(desk.of("save-best").length).toBe(1);
    expect(desk.session.state(desk.now).phase).toBe("done");
  });

  test("the log keeps what each volunteer computes with, and whose bits are not promised", () => {
    const desk = openDesk();
    desk.join();
    const relaxed = { ...device, description: "relaxed SIMD", deterministic: false };
    const hello = { protocol: PROTOCOL_VERSION, build: "test", device: relaxed };
    desk.send({ type: "hello", request: 77, hello });
    const joins = desk
      .of("record")
      .flatMap(({ record }) => (record.kind === "worker" ? [record.detail] : []));
    expect(joins).toEqual(["wasm, desk, test", "wasm, relaxed SIMD, test; bits not promised"]);
  });

  test("a volunteer whose speed is known is given larger nodes", () => {
    const desk = openDesk(8);
    desk.join();
    const levels = () => desk.of("lease").map(({ lease }) => lease.level);
    expect(levels()).toEqual([0]);
    desk.work(() => desk.of("commit").length === 2);
    expect(Math.max(...levels())).toBe(3);
  });

  test("a lease names the shards of the next step's units at its place", () => {
    const desk = openDesk(4);
    desk.join();
    desk.work(() => desk.of("finished").length > 0);
    const planner = openPlanner({ ...TINY_PLAN, unitCount: 4, epochs: 1 });
    let last = 0;
    for (const { lease } of desk.of("lease")) {
      if (lease.kind !== "gradient") continue;
      const next = planner.planStep(lease.step + 1);
      if (!next) last++;
      const { first, end } = unitRange(lease, 4);
      const wanted = next?.units.slice(first, end).flatMap(({ samples }) => samples) ?? [];
      const named = lease.ahead ?? [];
      const holds = (sample: number) =>
        named.some((shard) => sample >= shard.first && sample < shard.first + shard.count);
      expect(wanted.every(holds)).toBe(true);
      expect(named.length).toBeLessThanOrEqual(2 * (end - first));
      if (!next) expect(named).toEqual([]);
    }
    expect(last).toBeGreaterThan(0);
  });

  test("a node that was filled is refused to whoever comes later, a copy too", () => {
    const desk = openDesk(1);
    const a = desk.join();
    const [lease] = desk.leasesOf(a);
    const b = desk.join();
    desk.now += 31_000;
    desk.send({ type: "tick" }); // a's lease expires and b is given the unit
    const [again] = desk.leasesOf(b);
    expect([again.level, again.index]).toEqual([lease.level, lease.index]);
    expect(again.token).not.toBe(lease.token);
    desk.reply = (effect) => (effect.type === "commit" ? undefined : answerOf(effect));
    desk.upload(a, lease.lease); // late, but first
    expect(desk.of("verdict").at(-1)?.verdict.accepted).toBe(true);
    expect(desk.of("revoke")).toEqual([
      { type: "revoke", to: b, revoke: { lease: again.lease, code: "DUPLICATE" } },
    ]);
    expect(desk.session.findLease(again.lease, b)).toBe("DUPLICATE");
    expect(desk.session.findLease(lease.lease, a)).toBe("DUPLICATE");
    expect(desk.session.findLease(lease.lease, b)).toBe("LEASE");
    expect(desk.session.findLease(again.lease + 1, b)).toBe("LEASE");
    desk.send({ type: "uploaded", volunteer: b, lease: again.lease });
    expect(desk.of("drop-upload")).toEqual([{ type: "drop-upload", lease: again.lease }]);
    expect(desk.of("commit").length).toBe(1);
  });

  test("when a step is over its leases are stale", () => {
    const desk = openDesk(1);
    const a = desk.join();
    const [{ lease }] = desk.leasesOf(a);
    desk.upload(a, lease);
    expect(desk.session.findLease(lease, a)).toBe("STALE");
  });

  test("two uploads for one node are verified one after the other", () => {
    const desk = openDesk(1);
    const a = desk.join();
    const b = desk.join();
    const [first] = desk.leasesOf(a);
    desk.now += 31_000;
    desk.send({ type: "tick" });
    const [second] = desk.leasesOf(b);
    desk.reply = () => undefined;
    desk.upload(a, first.lease);
    desk.upload(b, second.lease);
    expect(desk.of("verify").map(({ lease }) => lease)).toEqual([first.lease]);
    desk.send({ type: "refused", lease: first.lease, code: "CHECKSUM", detail: "damaged" });
    expect(desk.of("verify").map(({ lease }) => lease)).toEqual([first.lease, second.lease]);
  });

  test("who returns with its secret is sent its leases again, with the time that is left", () => {
    const desk = openDesk(1);
    const a = desk.join();
    const [lease] = desk.leasesOf(a);
    const welcome = desk.of("answer")[0].answer;
    if (!welcome.ok) throw new Error("it was refused");
    desk.now += 10_000;
    desk.send({ type: "disconnected", volunteer: a });
    expect(desk.session.state(desk.now).volunteers[0].state).toBe("gone");
    const { secret } = welcome.volunteer;
    const hello = { protocol: 1, build: "test", device };
    desk.send({ type: "hello", request: 8, hello: { ...hello, resume: { id: a, secret: "no" } } });
    expect(desk.of("answer").at(-1)?.volunteer).not.toBe(a);
    desk.send({ type: "hello", request: 9, hello: { ...hello, resume: { id: a, secret } } });
    expect(desk.of("answer").at(-1)?.volunteer).toBe(a);
    const again = desk
      .of("lease")
      .filter(({ to }) => to === a)
      .at(-1)?.lease;
    expect(again?.lease).toBe(lease.lease);
    expect(again?.deadlineMs).toBe(20_000);
  });

  test("a secret is good for the same id after the coordinator has started again", () => {
    const first = openDesk(1);
    const a = first.join();
    const welcome = first.of("answer")[0].answer;
    if (!welcome.ok) throw new Error("it was refused");
    const second = openDesk(1, { start: first.session.snapshot() });
    const { id, secret } = welcome.volunteer;
    const hello = { protocol: 1, build: "test", device, resume: { id, secret } };
    second.send({ type: "hello", request: 1, hello });
    expect(second.of("answer")[0].volunteer).toBe(a);
    second.send({ type: "want", volunteer: a, want: { leases: 1 } });
    const [old] = first.leasesOf(a);
    const [now] = second.leasesOf(a);
    expect(now.lease).not.toBe(old.lease);
    expect(second.session.findLease(old.lease, a)).toBe("STALE");
  });

  test("leaving, pausing and giving up free the unit at once", () => {
    for (const how of ["leave", "want", "abandon", "disconnected"] as const) {
      const desk = openDesk(1);
      const a = desk.join();
      const [{ lease }] = desk.leasesOf(a);
      const b = desk.join();
      expect(desk.leasesOf(b)).toEqual([]);
      if (how === "leave") desk.send({ type: "leave", volunteer: a });
      if (how === "disconnected") desk.send({ type: "disconnected", volunteer: a });
      if (how === "want") desk.send({ type: "want", volunteer: a, want: { leases: 0 } });
      if (how === "abandon")
        desk.send({ type: "abandon", volunteer: a, abandon: { lease, reason: "device-lost" } });
      expect(desk.leasesOf(b).length, how).toBe(1);
    }
  });

  test("nobody is leased what does not fit, and the run says so", () => {
    const unitBytes = (height: number, width: number, batch: number) => height * width * batch;
    const desk = openDesk(3, { unitBytes });
    const a = desk.join(1, 100);
    expect(desk.leasesOf(a)).toEqual([]);
    const { phase, reason } = desk.session.state(desk.now);
    expect(phase).toBe("waiting");
    expect(reason).toMatch(/no device here has the memory for \d images of \d+x\d+/);
    desk.join(1, 1e6);
    desk.work();
    expect(desk.session.state(desk.now).phase).toBe("done");
    expect(desk.of("lease").some(({ to }) => to === a)).toBe(false);
  });
});

describe("waiting and the host's wishes", () => {
  test("the first step waits for --min-workers, later ones for anybody", () => {
    const desk = openDesk(2, { minWorkers: 2 });
    const a = desk.join();
    expect(desk.session.state(desk.now)).toMatchObject({
      phase: "waiting",
      reason: "for 2 volunteers (1 here)",
    });
    expect(desk.of("lease")).toEqual([]);
    const b = desk.join();
    expect(desk.session.state(desk.now).phase).toBe("training");
    desk.send({ type: "leave", volunteer: a });
    desk.work(() => desk.of("commit").length === 2);
    expect(desk.of("commit").length).toBe(2);
    desk.send({ type: "leave", volunteer: b });
    expect(desk.session.state(desk.now).phase).toBe("waiting");
    desk.join();
    desk.work();
    expect(desk.session.state(desk.now).phase).toBe("done");
  });

  test("pause lets what is under way finish and starts nothing; resume goes on", () => {
    const desk = openDesk(2);
    desk.join();
    desk.send({ type: "control", action: "pause" });
    desk.work();
    expect(desk.session.state(desk.now).phase).toBe("paused");
    expect(desk.of("lease").length).toBe(1);
    desk.send({ type: "control", action: "resume" });
    desk.work();
    expect(desk.session.state(desk.now).phase).toBe("done");
  });

  test("stop saves the last commit and ends; save saves at once", () => {
    const desk = openDesk(2);
    desk.join();
    desk.work(() => desk.of("commit").length === 3);
    desk.send({ type: "control", action: "save" });
    desk.send({ type: "control", action: "stop" });
    expect(desk.of("checkpoint").map(({ step, final }) => [step, final])).toEqual([
      [3, false],
      [3, true],
    ]);
    expect(desk.of("finished").map(({ reason }) => reason)).toEqual(["stopped"]);
    expect(desk.of("notice").at(-1)?.notice).toMatchObject({ code: "FINISHED", final: true });
    desk.send({ type: "hello", request: 5, hello: { protocol: 1, build: "test", device } });
    expect(desk.of("answer").at(-1)?.answer).toMatchObject({ ok: false, code: "FINISHED" });
  });

  test("a checkpoint that cannot be written pauses; resuming tries it again", () => {
    const desk = openDesk(2, { checkpointEvery: 2 });
    desk.join();
    desk.reply = (effect) =>
      effect.type === "checkpoint"
        ? { type: "checkpoint-failed", step: effect.step, detail: "disk full" }
        : answerOf(effect);
    desk.work();
    expect(desk.session.state(desk.now).phase).toBe("paused");
    expect(desk.session.state(desk.now).reason).toMatch(/disk full/);
    desk.reply = answerOf;
    desk.send({ type: "control", action: "resume" });
    // The step that was under way has been committed meanwhile.
    expect(desk.of("checkpoint").map(({ step }) => step)).toEqual([2, 3]);
    desk.work();
    expect(desk.session.state(desk.now).phase).toBe("done");
  });

  test("roll-back waits for the vectors to be quiet, then goes on from the checkpoint", () => {
    const desk = openDesk(2);
    const a = desk.join();
    desk.work(() => desk.of("commit").length === 2);
    const [{ lease }] = desk.leasesOf(a);
    desk.reply = () => undefined;
    desk.upload(a, lease);
    desk.send({ type: "control", action: "rollback" });
    expect(desk.of("rollback")).toEqual([]);
    const report = { loss: 1, top1: 0, top5: 0, computeMs: 1 };
    desk.send({ type: "verified", lease, report });
    expect(desk.of("rollback").length).toBe(1);
    expect(desk.of("forget-step").at(-1)?.step).toBe(2);
    desk.reply = answerOf;
    const weights = deskOptions(2).start;
    if ("schema" in weights) throw new Error("new runs start from weights");
    desk.send({ type: "rolled-back", step: 0, weights });
    expect(desk.session.state(desk.now).step).toBe(0);
    desk.work();
    expect(desk.session.state(desk.now).phase).toBe("done");
  });

  test("weights that are not finite are not taken: diverged, with a roll-back offered", () => {
    const desk = openDesk(2);
    desk.join();
    desk.reply = (effect) => {
      const answer = answerOf(effect);
      return answer?.type === "committed" && answer.step === 1
        ? { ...answer, finite: false }
        : answer;
    };
    desk.work();
    expect(desk.session.state(desk.now)).toMatchObject({ phase: "diverged", step: 1 });
    expect(desk.session.snapshot().weights.parameters).toBe("after-1");
    desk.reply = answerOf;
    desk.send({ type: "control", action: "resume" }); // the step is computed again from nothing
    desk.work();
    expect(desk.session.state(desk.now).phase).toBe("done");
    expect(
      desk
        .of("commit")
        .map(({ step }) => step)
        .slice(0, 3),
    ).toEqual([0, 1, 1]);
  });
});

describe("whose fault it is", () => {
  test("a sample that two volunteers cannot decode is struck, and each other used once", () => {
    const undecodable = new Set([5, 17, 60]);
    for (const volunteers of [1, 3]) {
      const wild = wildSwarm(3, 80);
      const { planner } = wild.session;
      const outcome = runSwarm({
        ...wild,
        ...{ undecodable, faults: NO_FAULTS, reference: undefined },
        devices: Array.from({ length: volunteers }, () => ({ ...wild.devices[0], honest: true })),
      });
      expect(outcome.violations).toEqual([]);
      expect(new Set(outcome.struck)).toEqual(undecodable);
      outcome.samples.forEach((samples, step) => {
        const plan = planner.planStep(step, undecodable)!;
        expect(samples).toEqual(plan.units.flatMap((unit) => [...unit.samples]));
      });
      expect(outcome.state.volunteers.every(({ connected }) => connected)).toBe(true);
    }
  });

  test("a unit that is not finite for two volunteers pauses the run as diverged", () => {
    const desk = openDesk(1);
    const a = desk.join();
    const b = desk.join();
    desk.reply = (effect) =>
      effect.type === "verify"
        ? { type: "refused", lease: effect.lease, code: "NON_FINITE", detail: "NaN at 7" }
        : answerOf(effect);
    desk.upload(a, desk.leasesOf(a)[0].lease);
    expect(desk.session.state(desk.now).phase).toBe("training");
    desk.upload(b, desk.leasesOf(b)[0].lease);
    const state = desk.session.state(desk.now);
    expect(state.phase).toBe("diverged");
    expect(state.reason).toMatch(/unit 0 of step 1 .*NON_FINITE/);
    expect(state.refusals).toEqual({ NON_FINITE: 2 });
  });

  test("one device that computes nonsense does not stop the others", () => {
    const desk = openDesk(4);
    const bad = desk.join();
    desk.join();
    desk.join();
    const owner = new Map<number, string>();
    desk.reply = (effect) => {
      for (const { to, lease } of desk.of("lease")) owner.set(lease.lease, to);
      return effect.type === "verify" && owner.get(effect.lease) === bad
        ? { type: "refused", lease: effect.lease, code: "NON_FINITE", detail: "NaN" }
        : answerOf(effect);
    };
    desk.work();
    const state = desk.session.state(desk.now);
    expect(state.phase).toBe("done");
    expect(state.refusals.NON_FINITE).toBeGreaterThan(0);
  });

  test("five malformed frames in a row remove a volunteer; damage on the way never does", () => {
    for (const [code, removed] of [
      ["SIZE", true],
      ["CHECKSUM", false],
    ] as const) {
      const desk = openDesk(1);
      const a = desk.join();
      desk.reply = (effect) =>
        effect.type === "verify"
          ? { type: "refused", lease: effect.lease, code, detail: "test" }
          : answerOf(effect);
      for (let i = 0; i < 8; i++) {
        const [lease] = desk.leasesOf(a);
        if (lease) desk.upload(a, lease.lease);
        desk.now = desk.session.wakeAt() ?? desk.now;
        desk.send({ type: "tick" });
      }
      expect(desk.of("notice").some(({ notice }) => notice.code === "REMOVED")).toBe(removed);
      expect(desk.session.state(desk.now).volunteers[0].refused).toBe(removed ? 5 : 8);
    }
  });
});

describe("evaluation", () => {
  test("an evaluation that a restart broke off begins anew behind a step, so that each life makes one", () => {
    const first = openDesk(4, { evalEvery: 1 });
    first.join();
    first.work(() => first.of("lease").some(({ lease }) => lease.kind === "evaluation"));
    const second = openDesk(4, { evalEvery: 1, start: first.session.snapshot(), fence: 2 });
    second.join();
    expect(second.of("lease").map(({ lease }) => lease.kind)).toEqual(["gradient"]);
    second.work(() => second.session.state(second.now).evaluation !== undefined);
    expect(second.session.state(second.now).evaluation?.step).toBe(2);
  });

  test("one unit in ten goes to two volunteers, and a disagreement is recorded", () => {
    const desk = openDesk(2, { evalEvery: 2 });
    const a = desk.join(4);
    const b = desk.join(4);
    const owner = new Map<number, string>();
    desk.reply = (effect) => {
      for (const { to, lease } of desk.of("lease")) owner.set(lease.lease, to);
      const answer = answerOf(effect);
      if (answer?.type !== "verified" || owner.get(answer.lease) === a) return answer;
      return { ...answer, report: { ...answer.report, top1: 0 } };
    };
    desk.work(() => desk.session.state(desk.now).evaluation !== undefined);
    const evaluations = desk.of("lease").filter(({ lease }) => lease.kind === "evaluation");
    const holders = (index: number) =>
      new Set(evaluations.filter(({ lease }) => lease.index === index).map(({ to }) => to));
    // 50 samples in units of 4: 13 on the EMA weights, then 13 on the raw ones.
    for (const index of [0, 10, 20]) expect(holders(index)).toEqual(new Set([a, b]));
    expect(eventsOf(desk.log).filter((what) => what === "disagreement").length).toBe(3);
    const raw = evaluations.find(({ lease }) => lease.index === 13)?.lease;
    const ema = evaluations.find(({ lease }) => lease.index === 12)?.lease;
    expect([ema?.weights, raw?.weights]).toEqual(["after-2-ema", "after-2"]);
    expect(ema?.samples).toBe(2);
    expect(desk.session.state(desk.now).evaluation).toMatchObject({ step: 2, samples: 50 });
  });

  test("best is the best EMA top-1 so far", () => {
    const desk = openDesk(2, { evalEvery: 3 });
    desk.join();
    const scores = [1, 3, 2, 4];
    let step = -1;
    desk.reply = (effect) => {
      const answer = answerOf(effect);
      if (answer?.type === "committed") step = answer.step;
      if (answer?.type !== "verified") return answer;
      return { ...answer, report: { ...answer.report, top1: scores[Math.floor(step / 3)] ?? 0 } };
    };
    desk.work(() => desk.of("commit").length === 13);
    expect(desk.of("save-best").map((effect) => effect.step)).toEqual([3, 6, 12]);
  });
});

test("the history is paged by a cursor and thinned to 2000 records", () => {
  const history = Array.from({ length: 30_000 }, (_, i) => ({
    kind: "step" as const,
    step: i + 1,
    epoch: 0,
    time: i,
    loss: 1,
    top1: 0,
    lr: 1,
    grad_norm: 1,
    samples: 1,
    images_per_second: 1,
    seconds: 1,
    workers: 1,
    resolutions: {},
    bytes_in: 0,
    bytes_out: 0,
    weights: "",
  }));
  const session = openSession(deskOptions(2, { history }));
  const all = session.history(0);
  expect(all.cursor).toBe(30_000);
  expect(all.records.length).toBeGreaterThan(900);
  expect(all.records.length).toBeLessThanOrEqual(2000);
  expect(all.records.at(-1)).toMatchObject({ step: 30_000 });
  expect(session.history(29_990).records.map((record) => record.step)).toEqual(
    Array.from({ length: 10 }, (_, i) => 29_991 + i),
  );
  expect(session.history(30_000).records).toEqual([]);
});

test("a restored session shows where the run stood, before anybody has joined", () => {
  const first = openDesk();
  first.join();
  first.work();
  const before = first.session.state(first.now);
  const { records } = first.session.history(0);
  const second = openDesk(4, { start: first.session.snapshot(), history: records });
  const after = second.session.state(second.now);
  for (const key of ["loss", "lr", "evaluation", "step", "best"] as const)
    expect(after[key], key).toEqual(before[key]);
  const sent = records.reduce(
    (sum, record) => sum + (record.kind === "step" ? record.bytes_in : 0),
    0,
  );
  expect(after.bytesIn).toBe(sent);
});
