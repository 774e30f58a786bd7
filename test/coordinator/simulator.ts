/**
 * Drives the real core through a seeded swarm in virtual time. Invariants are checked as things
 * happen: steps commit once and in order, each unit counts once, N is the plan's, replay after a
 * crash gives the same weights, the run ends.
 */

import type { CoreEvent, CoreSnapshot, Effect } from "@swarmvit/coordinator/core/messages";
import type { SessionOptions } from "@swarmvit/coordinator/core/options";
import { openSession, type Session } from "@swarmvit/coordinator/core/session";
import { openPlanner, type PlanConfig } from "@swarmvit/shared/planner";
import type { Refusal, Welcome } from "@swarmvit/shared/protocol";
import type { MetricRecord, RunState } from "@swarmvit/shared/run";
import { type Chance, openChance, openClock, toyMac } from "./simulator-clock.ts";
import { type Commit, initialWeights, openVectorShell } from "./simulator-shell.ts";
import {
  type Faults,
  NO_FAULTS,
  openVolunteer,
  RUN_ID,
  type SimulatedVolunteer,
} from "./simulator-volunteer.ts";

export interface Scenario {
  readonly seed: number;
  readonly volunteers: number;
  /** Pixels a millisecond of each, in turn. */
  readonly speeds: readonly number[];
  readonly want: number;
  readonly units: number;
  readonly epochs: number;
  readonly faults: Faults;
  /** Faults and crashes end here; then everything must come to an end by itself. */
  readonly faultsUntilMs: number;
  /** Mean time between a coordinator's crashes. */
  readonly crashEveryMs?: number;
  readonly undecodable?: ReadonlySet<number>;
  readonly options?: Partial<SessionOptions>;
}

export interface Outcome {
  readonly commits: readonly Commit[];
  readonly records: readonly MetricRecord[];
  readonly state: RunState;
  readonly virtualMs: number;
  readonly crashes: number;
  readonly struck: readonly number[];
}

const START_MS = 1_000_000;
const PATIENCE_MS = 60 * 60_000;

export const PLAN: Omit<PlanConfig, "unitCount" | "epochs"> = {
  seed: 7,
  sizes: [
    { height: 32, width: 32, batch: 4 },
    { height: 48, width: 48, batch: 2 },
    { height: 64, width: 64, batch: 2 },
  ],
  oneSize: false,
  shards: [
    { first: 0, count: 40 },
    { first: 40, count: 40 },
    { first: 80, count: 23 },
  ],
};

/** Options of a small run: 103 samples an epoch. */
export function simulatedOptions(
  units: number,
  epochs: number,
  seed: number,
  more: Partial<SessionOptions> = {},
): SessionOptions {
  const planner = openPlanner({ ...PLAN, unitCount: units, epochs });
  let ids = 0;
  const refOf = (name: string) => (shard: { first: number; count: number }, i: number) => ({
    ...shard,
    sha256: `${name}-${i}`,
    bytes: 100,
  });
  return {
    run: {
      id: RUN_ID,
      name: "simulated",
      model: "mobilevit_xxs",
      variant: "xxs",
      classes: ["a", "b"],
      dataset: "numbers",
      samples: planner.epochSamples,
      codec: "f32",
      smoothing: 0.1,
      dropout: 0,
      headDropout: 0,
      augment: { cropScale: [0.5, 1], cropRatio: [0.75, 1.33], flip: true, evalResize: 1 },
      parameterCount: 10,
      sizes: PLAN.sizes,
    },
    planner,
    schedule: {
      lr: 0.002,
      minLr: 0.00002,
      warmupLr: 0.0001,
      warmupSamples: 20,
      totalSamples: planner.totalSamples,
      granularity: "sample",
      epochSamples: planner.epochSamples,
    },
    epochs,
    minWorkers: 1,
    leaseSeconds: 30,
    checkpointEvery: 5,
    shards: PLAN.shards.map(refOf("train")),
    validation: {
      shards: [{ first: 0, count: 50 }].map(refOf("validation")),
      height: 48,
      width: 48,
      unitSamples: 4,
    },
    frameBytes: (kind) => (kind === "gradient" ? 1000 : 100),
    start: initialWeights(),
    tools: {
      mac: (text) => toyMac(seed, text),
      freshId: () => toyMac(seed + 1, `${ids++}`).slice(0, 16),
    },
    config: {},
    startedAt: START_MS,
    ...more,
  };
}

/** Runs a scenario to its end. Throws when an invariant breaks or the run does not end. */
export function simulate(scenario: Scenario): Outcome {
  const chance = openChance(scenario.seed);
  const clock = openClock(START_MS);
  const commits: Commit[] = [];
  const records: MetricRecord[] = [];
  const volunteers: SimulatedVolunteer[] = [];
  const faultsUntil = START_MS + scenario.faultsUntilMs;
  const faults = () => (clock.now < faultsUntil ? scenario.faults : NO_FAULTS);
  let durable: CoreSnapshot | undefined;
  let life: Life | undefined;
  let crashes = 0;
  let ended = false;

  interface Life {
    readonly session: Session;
    send(event: CoreEvent): void;
    /** Which volunteer speaks for an id. */
    readonly speakers: Map<string, SimulatedVolunteer>;
    readonly shell: ReturnType<typeof openVectorShell>;
    ended: boolean;
  }

  const onCommit = (commit: Commit, core: CoreSnapshot) => {
    durable = core; // on disk before anybody is told
    const before = commits[commit.step];
    if (before && before.weights.parameters !== commit.weights.parameters)
      throw new Error(`step ${commit.step} gave other weights when it was done again`);
    if (commit.step > commits.length) throw new Error(`step ${commits.length} was left out`);
    commits[commit.step] = commit;
  };

  const boot = () => {
    const fence = crashes + 1;
    const session = openSession(
      simulatedOptions(scenario.units, scenario.epochs, scenario.seed, {
        ...scenario.options,
        start: durable ?? initialWeights(),
        fence,
      }),
    );
    const speakers = new Map<string, SimulatedVolunteer>();
    const hellos = new Map<number, [SimulatedVolunteer, (answer: Welcome | Refusal) => void]>();
    let lastWake = 0;
    const perform = (effect: Effect) => {
      if (shell.perform(effect)) return;
      if ("to" in effect) {
        const to = speakers.get(effect.to);
        if (!to) return;
        clock.after(chance.between(1, 40), () => {
          if (here.ended || speakers.get(effect.to) !== to) return;
          if (effect.type === "lease") to.lease(effect.lease);
          if (effect.type === "revoke") to.revoke(effect.revoke.lease);
        });
      } else if (effect.type === "answer") {
        const asked = hellos.get(effect.request);
        if (!asked) throw new Error(`request ${effect.request} was answered twice or never made`);
        hellos.delete(effect.request);
        if (effect.volunteer) speakers.set(effect.volunteer, asked[0]);
        asked[1](effect.answer);
      } else if (effect.type === "record") records.push(effect.record);
      else if (effect.type === "finished") {
        if (effect.reason !== "done") throw new Error(`the run ended as ${effect.reason}`);
        ended = true;
      }
    };
    const send = (event: CoreEvent) => {
      if (here.ended) return;
      for (const effect of session.handle(event, clock.now)) perform(effect);
      const wake = session.wakeAt();
      if (wake === undefined || wake === lastWake) return;
      if (wake <= clock.now) throw new Error("wakeAt is not in the future");
      lastWake = wake;
      clock.after(wake - clock.now, () => {
        if (lastWake === wake) lastWake = 0;
        send({ type: "tick" });
      });
    };
    const shell = openVectorShell(
      clock,
      chance,
      durable?.step ?? 0,
      durable?.weights ?? initialWeights(),
      send,
      (checkpoint) => {
        durable = checkpoint.core;
        const { step } = checkpoint;
        return { type: "checkpointed", step, file: `step-${step}`, bytes: 1 };
      },
      onCommit,
    );
    const here: Life = { session, send, speakers, shell, ended: false };
    life = here;
    requests = hellos;
    send({ type: "tick" });
  };

  let requests = new Map<number, [SimulatedVolunteer, (answer: Welcome | Refusal) => void]>();
  let requestCount = 0;

  const openLine = (volunteer: SimulatedVolunteer) => {
    const at = life;
    if (!at) return undefined;
    let id: string | undefined;
    let open = true;
    const later = (act: () => void) =>
      clock.after(chance.between(1, 40), () => {
        if (!at.ended) act();
      });
    const isSpeaker = () => open && id !== undefined && at.speakers.get(id) === volunteer;
    return {
      hello: (hello, answer) =>
        later(() => {
          if (!open) return;
          const request = requestCount++;
          requests.set(request, [
            volunteer,
            (welcome) => {
              if (welcome.ok) id = welcome.volunteer.id;
              clock.after(chance.between(1, 40), () => {
                if (open && !at.ended) answer(welcome);
              });
            },
          ]);
          at.send({ type: "hello", request, hello });
        }),
      want: (leases) =>
        later(
          () => isSpeaker() && at.send({ type: "want", volunteer: id ?? "", want: { leases } }),
        ),
      abandon: (lease, reason, sample) =>
        later(
          () =>
            isSpeaker() &&
            at.send({ type: "abandon", volunteer: id ?? "", abandon: { lease, reason, sample } }),
        ),
      leave: () => {
        const said = id;
        later(() => said && at.send({ type: "leave", volunteer: said }));
      },
      upload: (lease, frame) =>
        later(() => {
          if (!isSpeaker() || id === undefined) return;
          const found = at.session.findLease(lease, id);
          if (typeof found === "string") return;
          at.shell.upload(lease, frame);
          at.send({ type: "uploaded", volunteer: id, lease, bytes: found.bytes });
        }),
      close: () => {
        const said = id;
        open = false;
        later(() => {
          if (said === undefined || at.speakers.get(said) !== volunteer) return;
          at.speakers.delete(said);
          at.send({ type: "disconnected", volunteer: said });
        });
      },
    } satisfies ReturnType<Parameters<typeof openVolunteer>[6]>;
  };

  const join = (index: number) => {
    const speed = scenario.speeds[index % scenario.speeds.length];
    const volunteer = openVolunteer(
      clock,
      chance,
      speed,
      scenario.want,
      scenario.undecodable ?? new Set(),
      faults,
      openLine,
    );
    volunteers.push(volunteer);
    clock.after(chance.between(0, 2000), volunteer.connect);
  };

  boot();
  for (let i = 0; i < scenario.volunteers; i++) join(i);
  const replace = () => {
    const present = volunteers.filter((volunteer) => !volunteer.gone).length;
    if (present < scenario.volunteers) join(chance.below(scenario.speeds.length));
    clock.after(chance.between(1000, 10_000), replace);
  };
  clock.after(5000, replace);
  if (scenario.crashEveryMs !== undefined) scheduleCrash(chance, scenario.crashEveryMs);

  function scheduleCrash(by: Chance, everyMs: number): void {
    clock.after(by.between(0.2, 1.8) * everyMs, () => {
      if (clock.now > faultsUntil || ended || !life) return;
      life.ended = true;
      life.shell.close();
      life = undefined;
      crashes++;
      for (const volunteer of volunteers) volunteer.dropped();
      clock.after(by.between(100, 5000), boot);
      scheduleCrash(by, everyMs);
    });
  }

  const isDone = clock.run(faultsUntil + PATIENCE_MS, () => ended);
  if (!isDone || !life) {
    const state = life?.session.state(clock.now);
    throw new Error(
      `the run stands still: ${state?.phase} ${state?.reason ?? ""}, step ${state?.step} of ${state?.totalSteps}`,
    );
  }
  const { session } = life;
  return {
    commits,
    records,
    state: session.state(clock.now),
    virtualMs: clock.now - START_MS,
    crashes,
    struck: session.snapshot().struck,
  };
}
