/**
 * Drives the real core through a seeded swarm in virtual time: its clock, chance, transport and
 * storage are this file's, and a ledger beside it checks what must always be true.
 */

import type { Codec } from "@swarmvit/shared/codec";
import type { Refusal, Welcome } from "@swarmvit/shared/protocol";
import type { MetricRecord, RunState } from "@swarmvit/shared/run";
import type { CoreEvent, Effect } from "../core/messages.ts";
import type { SessionOptions } from "../core/options.ts";
import { openSession, type Session } from "../core/session.ts";
import { openUploads, type Uploads } from "../server/uploads.ts";
import { type Chance, openChance, toyMac } from "./chance.ts";
import { type Clock, openClock } from "./clock.ts";
import { openCountedUploads } from "./counted-uploads.ts";
import { type Faults, NO_FAULTS } from "./faults.ts";
import { type Ledger, openLedger } from "./ledger.ts";
import { openPipe } from "./link.ts";
import { openTally, type Tally } from "./tally.ts";
import {
  type Arithmetic,
  initialState,
  namesOf,
  openSimulatedVectors,
  type ShellCosts,
  type SimulatedVectors,
  type Stored,
} from "./vectors.ts";
import {
  type DeviceModel,
  type Line,
  openVolunteer,
  type SimulatedVolunteer,
} from "./volunteer.ts";

export interface SwarmConfig {
  readonly seed: number;
  /** One volunteer of each; whoever leaves for good is followed by one of the same kind. */
  readonly devices: readonly DeviceModel[];
  readonly arithmetic: Arithmetic;
  readonly codec: Codec;
  readonly costs: ShellCosts;
  /** U of a step. */
  readonly unitCount: number;
  readonly session: Omit<SessionOptions, "start" | "tools" | "startedAt">;
  /** Milliseconds between opening the link and the first word. */
  readonly joinMs: number;
  /** Share of the volunteers that is replaced each minute. */
  readonly churn: number;
  readonly faults: Faults;
  /** From this step on nothing goes wrong any more. */
  readonly faultsUntilStep: number;
  readonly undecodable?: ReadonlySet<number>;
  /** Bytes of uploads that may be on their way at once. */
  readonly uploadBudget?: number;
  readonly chunkBytes: number;
  /** Bytes of p_t as float32, and of the delta from the version before. */
  readonly weightsBytes: number;
  readonly deltaBytes: number;
  /** Published parameters after so many commits, where they are known. */
  reference?(commits: number): string | undefined;
  onStep?(steps: number, clock: Clock): void;
}

export interface SwarmOutcome extends Tally {
  readonly steps: number;
  readonly leases: number;
  readonly reissued: number;
  readonly violations: readonly string[];
  readonly crashes: number;
  readonly virtualMs: number;
  readonly records: readonly MetricRecord[];
  readonly state: RunState;
  readonly struck: readonly number[];
  readonly weights: string;
  /** Sample ids of each committed step. */
  readonly samples: readonly (readonly number[])[];
  /** Milliseconds of processor time in the core (not counted for the tiny model), and its events. */
  readonly coreMs: number;
  readonly events: number;
}

interface Life {
  readonly session: Session;
  readonly vectors: SimulatedVectors;
  readonly uploads: Uploads;
  /** Which volunteer speaks for an id, and how words get to it. */
  readonly speakers: Map<string, { volunteer: SimulatedVolunteer; tell(act: () => void): void }>;
  readonly hellos: Map<number, (id: string | undefined, answer: Welcome | Refusal) => void>;
  ended: boolean;
  send(event: CoreEvent): void;
}

const START_MS = 1_000_000;
/** A run that makes no step for this long stands still. */
const PATIENCE_MS = 60 * 60_000;
const MESSAGE_BYTES = 200;
const KEPT_CHECKPOINTS = 3;
/** The core tries again after this what the disk refused. */
const DISK_RETRY_MS = 3000;

/** Runs a swarm until its last step. Violations are collected; a run that stands still is one. */
export function runSwarm(config: SwarmConfig): SwarmOutcome {
  const chance = openChance(config.seed);
  const clock = openClock(START_MS);
  const violations: string[] = [];
  const violate = (what: string) => {
    violations.push(`${((clock.now - START_MS) / 1000).toFixed(3)} s: ${what}`);
  };
  const records: MetricRecord[] = [];
  const honest = new Map<string, boolean>();
  const volunteers = new Set<SimulatedVolunteer>();
  let life: Life | undefined;
  let ids = 0;
  let requests = 0;
  let crashes = 0;
  let ended = false;
  let coreMs = 0;
  let events = 0;
  let lastCommitAt = START_MS;
  let faultsEndAt = START_MS;
  let diskFullUntil = 0;
  const first: Stored = { state: initialState(config.arithmetic, config.codec) };
  const checkpoints: Stored[] = [];
  let stored: Stored = first;
  const isTiny = config.arithmetic === "tiny";
  const ledger = openLedger({
    planner: config.session.planner,
    unitCount: config.unitCount,
    reference: config.reference,
    isHonest: (id) => honest.get(id) ?? true,
    struck: () => life?.session.snapshot().struck.length ?? 0,
    violate,
  });
  const tally = openTally(clock);
  const areFaultsOn = () => ledger.commits < config.faultsUntilStep;
  const faults = () => (areFaultsOn() ? config.faults : NO_FAULTS);
  const faulted = (untilMs: number) => {
    faultsEndAt = Math.max(faultsEndAt, untilMs);
  };

  const tools = {
    mac: (text: string) => toyMac(config.seed, text),
    freshId: () => toyMac(config.seed + 1, `${ids++}`).slice(0, 16),
  };

  const boot = () => {
    const fence = crashes + 1;
    const start = stored.core ?? namesOf(stored.state);
    const session = openSession({ ...config.session, tools, startedAt: START_MS, start, fence });
    const uploads = isTiny
      ? openUploads(config.uploadBudget ?? Number.POSITIVE_INFINITY, () => clock.now)
      : openCountedUploads(() => clock.now);
    let wakeFor = 0;
    const send = (event: CoreEvent) => {
      if (here.ended) return;
      ledger.before(event);
      const before = isTiny ? undefined : process.cpuUsage();
      const effects = session.handle(event, clock.now);
      const wake = session.wakeAt();
      if (before) {
        const { user, system } = process.cpuUsage(before);
        coreMs += (user + system) / 1000;
      }
      events++;
      ledger.after(effects);
      if (event.type === "committed") onCommitted(event, here);
      for (const effect of effects) perform(effect);
      checkLiveness();
      if (uploads.bytesInFlight > (config.uploadBudget ?? Number.POSITIVE_INFINITY))
        violate(`${uploads.bytesInFlight} bytes are in flight`);
      if (wake === undefined || wake === wakeFor) return;
      if (wake <= clock.now) violate("wakeAt is not in the future");
      wakeFor = wake;
      clock.after(wake - clock.now, () => {
        if (wakeFor !== wake) return;
        wakeFor = 0;
        send({ type: "tick" });
      });
    };
    const perform = (effect: Effect) => {
      if (vectors.perform(effect)) return;
      switch (effect.type) {
        case "lease": {
          tally.leased();
          const to = here.speakers.get(effect.to);
          to?.tell(() => to.volunteer.lease(effect.lease));
          break;
        }
        case "revoke": {
          uploads.drop(effect.revoke.lease); // what has come of its frame so far
          const to = here.speakers.get(effect.to);
          to?.tell(() => to.volunteer.settled(effect.revoke.lease));
          break;
        }
        case "verdict": {
          const to = here.speakers.get(effect.to);
          to?.tell(() => to.volunteer.settled(effect.verdict.lease));
          break;
        }
        case "notice": {
          const to = here.speakers.get(effect.to);
          if (effect.notice.final) to?.tell(() => to.volunteer.dismissed());
          break;
        }
        case "answer":
          here.hellos.get(effect.request)?.(effect.volunteer, effect.answer);
          if (!here.hellos.delete(effect.request)) violate("a hello was answered twice");
          break;
        case "record":
          records.push(effect.record);
          if (effect.record.kind === "event") host(effect.record.what, here);
          break;
        case "finished":
          if (effect.reason !== "done") violate(`the run ended as ${effect.reason}`);
          ended = true;
          break;
      }
    };
    const vectors = openSimulatedVectors({
      ...{ clock, chance, uploads, answer: send, unitCount: config.unitCount },
      ...{ arithmetic: config.arithmetic, codec: config.codec, costs: config.costs },
      disk: {
        isFull: () => clock.now < diskFullUntil,
        append(core, state) {
          stored = { core, state };
        },
        checkpoint(core, state) {
          checkpoints.push({ core, state });
          if (checkpoints.length > KEPT_CHECKPOINTS) checkpoints.shift();
        },
        newest: () => stored,
        before(step) {
          // What is newer is given up for good.
          while (checkpoints.length > 0 && (checkpoints.at(-1)?.core?.step ?? 0) >= step)
            checkpoints.pop();
          stored = checkpoints.at(-1) ?? first;
          return stored;
        },
      },
    });
    const here: Life = {
      ...{ session, vectors, uploads, send, ended: false },
      ...{ speakers: new Map(), hellos: new Map() },
    };
    life = here;
    ledger.restarted(stored.core?.step ?? 0);
    send({ type: "opened" });
    send({ type: "tick" });
  };

  const onCommitted = (event: Extract<CoreEvent, { type: "committed" }>, { vectors }: Life) => {
    const vector = vectors.download(event.weights.parameters);
    if (!event.finite || (vector && !vector.every(Number.isFinite)))
      violate(`step ${event.step} made weights that are not finite`);
    lastCommitAt = clock.now;
    tally.committed(ledger.samplesOf(event.step).length, costOfStep(config, event.step));
    boundStep();
    config.onStep?.(ledger.commits, clock);
  };

  /** What a host does: resumes or rolls back. */
  const host = (what: string, at: Life) => {
    if (what !== "diverged") return;
    faulted(clock.now + 1000);
    clock.after(1000, () => {
      if (at.ended) return;
      at.send({ type: "control", action: chance.happens(0.5) ? "rollback" : "resume" });
      faulted(clock.now);
    });
  };

  // After the last fault the open step must commit within one deadline plus twice the work left.
  let mustCommitBy: number | undefined;
  let bounded = false;
  const boundStep = () => {
    mustCommitBy = undefined;
  };
  const checkLiveness = () => {
    if (mustCommitBy !== undefined && clock.now > mustCommitBy) {
      violate(`the step after the last fault took longer than ${bound} ms`);
      mustCommitBy = undefined;
    }
    if (bounded || areFaultsOn() || clock.now <= faultsEndAt || !life) return;
    // While an evaluation is under way no step is open yet.
    if (life.session.state(clock.now).open?.kind !== "gradient") return;
    bounded = true;
    const fit = [...volunteers].filter((at) => at.fit);
    if (fit.length === 0) return;
    bound = config.session.leaseSeconds * 1000 + 2 * makespan(config, fit, ledger.commits);
    mustCommitBy = clock.now + bound;
  };
  let bound = 0;

  const openLine = (volunteer: SimulatedVolunteer): Line | undefined => {
    const at = life;
    if (!at || at.ended) return undefined;
    const { latencyMs, downBytesPerMs } = volunteer.device;
    const down = openPipe(clock, downBytesPerMs, 0);
    let id: string | undefined;
    let open = true;
    let upAt = 0;
    let downAt = 0;
    /** Messages keep their order, unless one overtakes. */
    const delayed = (arrivesAt: number, lastAt: number) =>
      chance.happens(faults().reorder) ? arrivesAt : Math.max(arrivesAt, lastAt);
    const wobble = () => (isTiny ? chance.between(0, 40) : 0);
    const up = (act: () => void, afterMs = 0) => {
      upAt = delayed(clock.now + afterMs + latencyMs + wobble(), upAt);
      clock.after(upAt - clock.now, () => {
        if (open && !at.ended) act();
      });
    };
    const tell = (act: () => void) => {
      tally.down(MESSAGE_BYTES);
      downAt = delayed(clock.now + latencyMs + wobble(), downAt);
      clock.after(downAt - clock.now, () => {
        if (open && !at.ended) act();
      });
    };
    const isSpeaker = () => id !== undefined && at.speakers.get(id)?.volunteer === volunteer;
    const gone = (said: string | undefined) => {
      if (said === undefined || at.ended || at.speakers.get(said)?.volunteer !== volunteer) return;
      at.speakers.delete(said);
      at.send({ type: "disconnected", volunteer: said });
    };
    const findLease = (lease: number) => at.session.findLease(lease, id ?? "");
    return {
      hello: (hello, answer) =>
        up(() => {
          const request = requests++;
          at.hellos.set(request, (as, welcome) => {
            id = as;
            if (id) {
              at.speakers.set(id, { volunteer, tell });
              honest.set(id, volunteer.device.honest);
            } else if (welcome.ok === false && welcome.code === "REMOVED") {
              if (volunteer.device.honest) violate("an honest volunteer was turned away for good");
            }
            tell(() => answer(welcome));
          });
          at.send({ type: "hello", request, hello });
        }),
      want: (leases) =>
        up(() => isSpeaker() && at.send({ type: "want", volunteer: id ?? "", want: { leases } })),
      abandon: (abandon) =>
        up(() => {
          if (!isSpeaker()) return;
          if (typeof findLease(abandon.lease) !== "string") at.uploads.drop(abandon.lease);
          at.send({ type: "abandon", volunteer: id ?? "", abandon });
        }),
      offer: (lease, bytes, answer) =>
        up(() => {
          if (!isSpeaker()) return;
          const found = findLease(lease);
          if (typeof found === "string") {
            tell(() => answer({ ok: false, code: found, message: "refused" }));
            return;
          }
          const busy = { ok: false, code: "BUSY", message: "offer again in a second" } as const;
          const credit = at.uploads.offer(lease, bytes) ?? busy;
          tell(() => answer(credit));
        }),
      chunk: (lease, offset, bytes, computeMs, afterMs) =>
        up(() => {
          if (!isSpeaker()) return;
          const found = findLease(lease);
          if (typeof found === "string") return;
          tally.up(isTiny ? bytes.length : found.bytes);
          const taken = at.uploads.chunk(lease, offset, bytes);
          if (!taken.credit || !taken.complete) return;
          if (!isTiny) at.vectors.report(lease, countedReport(found.expected.samples, computeMs));
          at.send({ type: "uploaded", volunteer: id ?? "", lease, tookMs: taken.tookMs });
        }, afterMs),
      leave: () => up(() => isSpeaker() && at.send({ type: "leave", volunteer: id ?? "" })),
      close(afterMs) {
        const said = id;
        if (afterMs > 0) {
          clock.after(afterMs, () => {
            open = false;
            gone(said);
          });
          return;
        }
        // What was said before still arrives; nothing does after.
        const until = Math.max(upAt, clock.now + latencyMs);
        clock.after(until - clock.now, () => {
          open = false;
          gone(said);
        });
      },
      fetch: (hash, held, got) =>
        up(() => {
          const bytes = held === undefined ? config.weightsBytes : config.deltaBytes;
          tally.down(bytes);
          const vector = at.vectors.download(hash);
          const ms = down.send(bytes) + latencyMs;
          clock.after(ms, () => {
            if (open && !at.ended) got(vector);
          });
        }),
    };
  };

  const join = (device: DeviceModel, afterMs: number) => {
    const volunteer = openVolunteer(
      {
        ...{ clock, chance, arithmetic: config.arithmetic, faults, faulted, openLine },
        ...{ undecodable: config.undecodable ?? new Set(), chunkBytes: config.chunkBytes },
        runId: config.session.run.id,
      },
      device,
    );
    volunteers.add(volunteer);
    tally.joined(volunteer);
    clock.after(afterMs, volunteer.connect);
  };

  boot();
  for (const device of config.devices)
    join(device, isTiny ? chance.between(0, 2000) : config.joinMs);
  if (isTiny) clock.after(5000, replaceGone);
  if (config.churn > 0) clock.after(untilNextChurn(), churn);
  if (config.faults.crashEveryMs > 0) scheduleCrash();
  if (config.faults.diskFullEveryMs > 0) scheduleFullDisk();

  function replaceGone(): void {
    for (const volunteer of volunteers)
      if (volunteer.gone) {
        volunteers.delete(volunteer);
        tally.left(volunteer);
        join(volunteer.device, 0);
        if (!areFaultsOn()) faulted(clock.now + 2000);
        break;
      }
    clock.after(chance.between(1000, 10_000), replaceGone);
  }
  function untilNextChurn(): number {
    return (-Math.log(1 - chance.next()) * 60_000) / (config.churn * config.devices.length);
  }
  function churn(): void {
    const all = [...volunteers];
    const leaving = all[chance.below(all.length)];
    volunteers.delete(leaving);
    tally.left(leaving);
    leaving.quit();
    join(leaving.device, config.joinMs);
    clock.after(untilNextChurn(), churn);
  }
  function scheduleCrash(): void {
    clock.after(chance.between(0.2, 1.8) * config.faults.crashEveryMs, () => {
      if (!areFaultsOn() || ended || !life) return;
      life.ended = true;
      life.vectors.close();
      life = undefined;
      crashes++;
      for (const volunteer of volunteers) volunteer.dropped();
      const downMs = chance.between(100, 5000);
      faulted(clock.now + downMs + 10_000);
      clock.after(downMs, boot);
      scheduleCrash();
    });
  }
  function scheduleFullDisk(): void {
    clock.after(chance.between(0.2, 1.8) * config.faults.diskFullEveryMs, () => {
      if (!areFaultsOn() || ended) return;
      diskFullUntil = clock.now + chance.between(1000, 30_000);
      faulted(diskFullUntil + DISK_RETRY_MS);
      scheduleFullDisk();
    });
  }

  for (let isOver = false; !isOver; ) {
    const until = lastCommitAt + PATIENCE_MS;
    isOver = clock.run(until, () => ended || violations.length > 0);
    if (!isOver && lastCommitAt + PATIENCE_MS <= until) {
      const state = life?.session.state(clock.now);
      violate(
        `the run stands still: ${state?.phase} ${state?.reason ?? ""}, step ${state?.step} of ${state?.totalSteps}`,
      );
      break;
    }
  }
  ledger.finish();
  if (!life) throw new Error(`the coordinator is down at the end: ${violations.join("; ")}`);
  const { session, vectors } = life as Life;
  return {
    ...tally.result(),
    ...{ steps: ledger.commits, leases: ledger.leases, reissued: ledger.reissued },
    ...{ violations, crashes, records, coreMs, events },
    virtualMs: clock.now - START_MS,
    state: session.state(clock.now),
    struck: session.snapshot().struck,
    weights: vectors.weights.parameters,
    samples: Array.from({ length: ledger.commits }, (_, step) => ledger.samplesOf(step)),
  };
}

/** Pixels of a planned step. */
function costOfStep(config: SwarmConfig, step: number): number {
  let cost = 0;
  for (const { samples, height, width } of config.session.planner.planStep(step)?.units ?? [])
    cost += samples.length * height * width;
  return cost;
}

/** What a step takes volunteers that start at once: the list schedule of its units, and the bytes. */
function makespan(config: SwarmConfig, fit: readonly SimulatedVolunteer[], step: number): number {
  const units = config.session.planner.planStep(step)?.units ?? [];
  const ends = fit.map(() => 0);
  for (const { samples, height, width } of units) {
    const cost = samples.length * height * width;
    let best = 0;
    fit.forEach(({ device }, i) => {
      if (ends[i] + cost / device.speed < ends[best] + cost / fit[best].device.speed) best = i;
    });
    ends[best] += cost / fit[best].device.speed;
  }
  const { costs } = config;
  const shellMs = 2 * units.length * (costs.verifyMs + costs.addMs) + 2 * costs.commitMs;
  const messagesMs = Math.max(...fit.map(({ device }) => 8 * (device.latencyMs + 40)));
  return Math.max(...ends) * 1.2 + shellMs + messagesMs;
}

function countedReport(samples: number, computeMs: number) {
  return { loss: 2 * samples, top1: 0, top5: 0, computeMs };
}

export type { Chance, Ledger };
