/**
 * One life of the coordinator in a simulation: the real core, and what carries its effects out, from
 * a start to a crash or to the end of the run.
 */

import type { Hello, Refusal, Welcome } from "@swarmvit/shared/protocol";
import type { MetricRecord } from "@swarmvit/shared/run";
import type { CoreEvent, Effect } from "../core/messages.ts";
import type { SessionOptions } from "../core/options.ts";
import { openSession, type Session } from "../core/session.ts";
import { openUploads, type Uploads } from "../server/uploads.ts";
import type { Chance } from "./chance.ts";
import type { Clock } from "./clock.ts";
import { openCountedUploads } from "./counted-uploads.ts";
import type { SimulatedDisk } from "./disk.ts";
import type { Ledger } from "./ledger.ts";
import type { Liveness } from "./liveness.ts";
import { namesOf } from "./state.ts";
import type { SwarmConfig } from "./swarm-config.ts";
import type { OpenTally } from "./tally.ts";
import { openSimulatedVectors, type SimulatedVectors } from "./vectors.ts";
import type { SimulatedVolunteer } from "./volunteer.ts";
import type { Weather } from "./weather.ts";

export interface LifeContext extends Pick<SessionOptions, "tools" | "startedAt" | "fence"> {
  readonly config: SwarmConfig;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly weather: Weather;
  readonly liveness: Liveness;
  readonly ledger: Ledger;
  readonly tally: OpenTally;
  readonly disk: SimulatedDisk;
  violate(what: string): void;
  /** The core took so many real milliseconds for an event. */
  handled(coreMs: number): void;
  record(record: MetricRecord): void;
  /** The run is over. */
  finished(): void;
}

export interface Life {
  readonly session: Session;
  readonly vectors: SimulatedVectors;
  readonly uploads: Uploads;
  /** Which volunteer speaks for an id, and how words get to it. */
  readonly speakers: Map<string, Speaker>;
  readonly ended: boolean;
  send(event: CoreEvent): void;
  hello(hello: Hello, answer: HelloAnswer): void;
  /** A crash: nothing that was under way comes to an end. */
  end(): void;
}

interface Speaker {
  readonly volunteer: SimulatedVolunteer;
  tell(act: () => void): void;
}

type HelloAnswer = (id: string | undefined, answer: Welcome | Refusal) => void;

/** A host looks at a run that diverged after this. */
const HOST_MS = 1000;

/** Starts the coordinator from what its disk holds; it waits for `opened`. */
export function openLife(context: LifeContext): Life {
  const { config, clock, chance, weather, liveness, ledger, tally, disk, violate } = context;
  const { tools, startedAt, fence } = context;
  const { uploadBudget = Number.POSITIVE_INFINITY, openCore = openSession } = config;
  const isTiny = config.arithmetic === "tiny";
  const stored = disk.newest();
  const start = stored.core ?? namesOf(stored.state);
  const session = openCore({ ...config.session, tools, startedAt, start, fence });
  const uploads = isTiny
    ? openUploads(uploadBudget, () => clock.now)
    : openCountedUploads(() => clock.now);
  const speakers = new Map<string, Speaker>();
  const hellos = new Map<number, HelloAnswer>();
  let requests = 0;
  let wakeFor = 0;
  let ended = false;

  const send = (event: CoreEvent) => {
    if (ended) return;
    ledger.before(event);
    config.onEvent?.(event, clock.now);
    const before = performance.now();
    const effects = session.handle(event, clock.now);
    const wake = session.wakeAt();
    context.handled(performance.now() - before);
    ledger.after(effects);
    if (event.type === "committed") onCommitted(event);
    for (const effect of effects) perform(effect);
    liveness.check(session);
    if (uploads.bytesInFlight > uploadBudget)
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
  const tell = (id: string, act: (volunteer: SimulatedVolunteer) => void) => {
    const to = speakers.get(id);
    to?.tell(() => act(to.volunteer));
  };
  const perform = (effect: Effect) => {
    if (vectors.perform(effect)) return;
    switch (effect.type) {
      case "lease":
        tally.leased();
        tell(effect.to, (volunteer) => volunteer.lease(effect.lease));
        break;
      case "revoke":
        uploads.drop(effect.revoke.lease); // what has come of its frame so far
        tell(effect.to, (volunteer) => volunteer.settled(effect.revoke.lease));
        break;
      case "verdict":
        tell(effect.to, (volunteer) => volunteer.settled(effect.verdict.lease));
        break;
      case "notice":
        if (effect.notice.final) tell(effect.to, (volunteer) => volunteer.dismissed());
        break;
      case "answer":
        hellos.get(effect.request)?.(effect.volunteer, effect.answer);
        if (!hellos.delete(effect.request)) violate("a hello was answered twice");
        break;
      case "record":
        context.record(effect.record);
        if (effect.record.kind === "event" && effect.record.what === "diverged") callHost();
        break;
      case "finished":
        if (effect.reason !== "done") violate(`the run ended as ${effect.reason}`);
        context.finished();
        break;
    }
  };
  const vectors = openSimulatedVectors({
    ...{ clock, chance, uploads, disk, answer: send, unitCount: config.unitCount },
    ...{ arithmetic: config.arithmetic, codec: config.codec, costs: config.costs },
  });

  const onCommitted = (event: Extract<CoreEvent, { type: "committed" }>) => {
    const vector = vectors.download(event.weights.parameters);
    if (!event.finite || (vector && !vector.every(Number.isFinite)))
      violate(`step ${event.step} made weights that are not finite`);
    liveness.committed();
    tally.committed(ledger.samplesOf(event.step).length, costOfStep(config, event.step));
    config.onStep?.(ledger.commits, clock);
  };

  /** What a host does: resumes or rolls back. */
  const callHost = () => {
    weather.faulted(clock.now + HOST_MS);
    clock.after(HOST_MS, () => {
      if (ended) return;
      send({ type: "control", action: chance.happens(0.5) ? "rollback" : "resume" });
      weather.faulted(clock.now);
    });
  };

  return {
    ...{ session, vectors, uploads, speakers, send },
    get ended() {
      return ended;
    },
    hello(hello, answer) {
      const request = requests++;
      hellos.set(request, answer);
      send({ type: "hello", request, hello });
    },
    end() {
      ended = true;
      vectors.close();
    },
  };
}

/** Pixels of a planned step. */
function costOfStep(config: SwarmConfig, step: number): number {
  let cost = 0;
  for (const { samples, height, width } of config.session.planner.planStep(step)?.units ?? [])
    cost += samples.length * height * width;
  return cost;
}
