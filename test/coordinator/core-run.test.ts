import type { Effect } from "@swarmvit/coordinator/core/messages";
import { openSession } from "@swarmvit/coordinator/core/session";
import { describe, expect, test } from "vitest";
import { answerOf, DEVICE, deskOptions, openDesk } from "./core-desk.ts";

function eventsOf(log: readonly Effect[]): string[] {
  return log.flatMap((effect) =>
    effect.type === "record" && effect.record.kind === "event" ? [effect.record.what] : [],
  );
}

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
    desk.send({ type: "hello", request: 5, hello: { protocol: 1, build: "test", device: DEVICE } });
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
