import { NO_FAULTS } from "@swarmvit/coordinator/simulate/faults";
import { runSwarm } from "@swarmvit/coordinator/simulate/swarm";
import { TINY_PLAN } from "@swarmvit/coordinator/simulate/tiny-run";
import { wildSwarm } from "@swarmvit/coordinator/simulate/wild";
import { openPlanner } from "@swarmvit/shared/planner";
import { PROTOCOL_VERSION } from "@swarmvit/shared/protocol";
import { unitRange } from "@swarmvit/shared/tree";
import { describe, expect, test } from "vitest";
import { answerOf, DEVICE, openDesk } from "./core-desk.ts";

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
    const relaxed = { ...DEVICE, description: "relaxed SIMD", deterministic: false };
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
    const hello = { protocol: 1, build: "test", device: DEVICE };
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
    const hello = { protocol: 1, build: "test", device: DEVICE, resume: { id, secret } };
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
