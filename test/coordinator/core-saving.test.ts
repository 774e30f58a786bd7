import { clearLosses, isRunaway, openLosses } from "@swarmvit/coordinator/core/loss-guard";
import { openChance } from "@swarmvit/coordinator/simulate/chance";
import { TINY_PLAN } from "@swarmvit/coordinator/simulate/tiny-run";
import { openPlanner } from "@swarmvit/shared/planner";
import { unitRange } from "@swarmvit/shared/tree";
import { describe, expect, test } from "vitest";
import { answerOf, type Desk, openDesk } from "./core-desk.ts";

const UNITS = 4;
/** A desk with a long plan, without evaluations, whose disk can be full. */
function openDeskWithDisk() {
  const planner = openPlanner({ ...TINY_PLAN, unitCount: UNITS, epochs: 40 });
  const desk = openDesk(UNITS, {
    planner,
    epochs: 40,
    checkpointEvery: 5,
    validation: { shards: [], height: 48, width: 48, unitSamples: 4 },
  });
  const disk = { full: false, loss: 2 };
  desk.reply = (effect) => {
    if (disk.full && effect.type === "commit")
      return { type: "commit-failed", step: effect.step, detail: "ENOSPC" };
    if (disk.full && effect.type === "checkpoint")
      return { type: "checkpoint-failed", step: effect.step, detail: "ENOSPC" };
    if (effect.type === "verify") {
      const report = { loss: disk.loss * effect.expected.samples, top1: 0, top5: 0, computeMs: 1 };
      return { type: "verified", lease: effect.lease, report };
    }
    if (effect.type === "rollback") {
      const step = 5 * Math.floor((effect.before - 1) / 5);
      const name = `back-${step}`;
      const weights = {
        parameters: name,
        statistics: name,
        emaParameters: name,
        emaStatistics: name,
      };
      return { type: "rolled-back", step, weights };
    }
    return answerOf(effect);
  };
  return { desk, disk };
}
const stateOf = (desk: Desk) => desk.session.state(desk.now);
const linesOf = (desk: Desk) =>
  desk.of("record").flatMap(({ record }) => (record.kind === "step" ? [record] : []));
const trainTo = (desk: Desk, step: number) =>
  desk.work(() => stateOf(desk).step >= step || stateOf(desk).phase !== "training");
const wait = (desk: Desk) => {
  desk.now = desk.session.wakeAt() ?? Number.NaN;
  desk.send({ type: "tick" });
};

describe("a disk without room", () => {
  test("for a step: nothing of it is published until it is written, then training goes on", () => {
    const { desk, disk } = openDeskWithDisk();
    desk.join(2);
    trainTo(desk, 2);
    disk.full = true;
    desk.work();
    expect(stateOf(desk)).toMatchObject({ step: 2, phase: "paused" });
    expect(stateOf(desk).reason).toMatch(/ENOSPC.*goes on by itself/);
    expect(linesOf(desk).map(({ step }) => step)).toEqual([1, 2]);
    wait(desk);
    wait(desk);
    expect(stateOf(desk)).toMatchObject({ step: 2, phase: "paused" });
    disk.full = false;
    wait(desk);
    expect(stateOf(desk)).toMatchObject({ step: 3, phase: "training", reason: undefined });
    const asked = desk.of("commit").filter(({ step }) => step === 2);
    expect(asked).toHaveLength(4);
    for (const again of asked) expect(again).toEqual(asked[0]);
    trainTo(desk, 5);
    expect(linesOf(desk).map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
  });

  test("for a checkpoint: the same, and the host can hurry it", () => {
    const { desk, disk } = openDeskWithDisk();
    desk.join(2);
    trainTo(desk, 4);
    desk.reply = ((reply) => (effect) => {
      disk.full = effect.type === "checkpoint" && stateOf(desk).checkpoints.length === 0 && full;
      return reply(effect);
    })(desk.reply);
    let full = true;
    desk.work();
    // What was leased before is still worth committing: the log has it.
    expect(stateOf(desk)).toMatchObject({ step: 6, phase: "paused" });
    full = false;
    desk.send({ type: "control", action: "resume" });
    expect(stateOf(desk)).toMatchObject({ step: 6, phase: "training" });
    expect(stateOf(desk).checkpoints.map(({ step }) => step)).toEqual([6]);
  });

  test("does not hold up a stop: the step that was not published is left to the next start", () => {
    const { desk, disk } = openDeskWithDisk();
    desk.join(2);
    trainTo(desk, 2);
    disk.full = true;
    desk.work();
    desk.send({ type: "control", action: "stop" });
    expect(desk.of("finished")).toEqual([
      { type: "finished", reason: "stopped", detail: "ENOSPC" },
    ]);
    expect(desk.session.wakeAt()).toBeUndefined();
  });
});

describe("the log of a step", () => {
  test("names leases that hold each unit once, and the snapshot to go on from", () => {
    const { desk } = openDeskWithDisk();
    for (let i = 0; i < 3; i++) desk.join(2);
    trainTo(desk, 6);
    const commits = desk.of("commit");
    expect(commits).toHaveLength(6);
    for (const { step, log, samples } of commits) {
      const units = log.leases.flatMap((node) => {
        const { first, end } = unitRange(node, UNITS);
        return Array.from({ length: end - first }, (_, i) => first + i);
      });
      expect(units.sort()).toEqual([0, 1, 2, 3]);
      expect(log.core.step).toBe(step + 1);
      expect(log.record).toMatchObject({ step: step + 1, samples });
    }
    expect(commits.map(({ log }) => log.record.weights).slice(1)).toEqual(
      linesOf(desk)
        .slice(0, 5)
        .map(({ step }) => `after-${step}`),
    );
  });
});

describe("a loss far above its history", () => {
  test("three steps in a row pause the run as diverged; a roll-back goes before them", () => {
    const { desk, disk } = openDeskWithDisk();
    desk.join(4);
    trainTo(desk, 26);
    disk.loss = 9;
    trainTo(desk, 28);
    expect(stateOf(desk).phase).toBe("training");
    desk.work();
    expect(stateOf(desk)).toMatchObject({ step: 29, phase: "diverged" });
    expect(stateOf(desk).reason).toMatch(/loss is 9\.00 after step 29, and was 2\.00/);
    disk.loss = 2;
    desk.send({ type: "control", action: "rollback" });
    expect(desk.of("rollback")).toEqual([{ type: "rollback", before: 29 }]);
    expect(stateOf(desk)).toMatchObject({ step: 25, phase: "training" });
    desk.send({ type: "control", action: "rollback" }); // at once: one further back
    expect(stateOf(desk)).toMatchObject({ step: 20, phase: "training" });
    trainTo(desk, 30);
    expect(stateOf(desk)).toMatchObject({ step: 30, phase: "training" });
  });

  test("the host can go on all the same", () => {
    const { desk, disk } = openDeskWithDisk();
    desk.join(4);
    trainTo(desk, 26);
    disk.loss = 9;
    desk.work(() => stateOf(desk).phase === "diverged");
    desk.send({ type: "control", action: "resume" });
    trainTo(desk, 40);
    expect(stateOf(desk)).toMatchObject({ step: 40, phase: "training" });
  });

  test("neither noise, nor a fall, nor single spikes raise the alarm", () => {
    for (let seed = 1; seed <= 30; seed++) {
      const chance = openChance(seed);
      const losses = openLosses([]);
      const noise = chance.between(0, 0.6);
      const fall = chance.between(50, 400);
      for (let step = 0; step < 500; step++) {
        const usual = 0.2 + 6 * Math.exp(-step / fall);
        const spike = step % 3 === 0 && chance.happens(0.06) ? chance.between(2, 50) : 1;
        const loss = usual * spike * (1 + noise * (chance.next() + chance.next() - 1));
        if (isRunaway(losses, loss)) throw new Error(`seed ${seed}, step ${step}: ${loss}`);
      }
      isRunaway(losses, 0.2); // the last one may have been a spike
      const runaway = [1, 2, 3].map((n) => isRunaway(losses, n === 2 ? Number.NaN : 40));
      expect(runaway).toEqual([false, false, true]);
      clearLosses(losses);
      expect(isRunaway(losses, 40)).toBe(false);
    }
  });
});
