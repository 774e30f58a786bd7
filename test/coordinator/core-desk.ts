/** A core on a desk: events by hand, vector effects answered at once unless a test answers itself. */

import type { CoreEvent, Effect } from "@swarmvit/coordinator/core/messages";
import type { SessionOptions } from "@swarmvit/coordinator/core/options";
import { openSession, type Session } from "@swarmvit/coordinator/core/session";
import { toyMac } from "@swarmvit/coordinator/simulate/chance";
import { initialState, namesOf } from "@swarmvit/coordinator/simulate/state";
import { tinySession } from "@swarmvit/coordinator/simulate/tiny-run";
import type { Report } from "@swarmvit/shared/frame";
import { type Lease, PROTOCOL_VERSION } from "@swarmvit/shared/protocol";

export interface Desk {
  readonly session: Session;
  /** All effects so far. */
  readonly log: Effect[];
  now: number;
  /** Answers an effect on vectors; `undefined` leaves it unanswered. */
  reply: (effect: Effect) => CoreEvent | undefined;
  send(event: CoreEvent): void;
  /** Joins and wants; returns the volunteer's id. */
  join(want?: number, memoryBytes?: number): string;
  /** Leases that a volunteer was sent and has not answered, and that were not revoked. */
  leasesOf(volunteer: string): Lease[];
  upload(volunteer: string, lease: number): void;
  /** Everybody answers everything until nothing is left or `until` holds. */
  work(until?: () => boolean): void;
  of<T extends Effect["type"]>(type: T): Extract<Effect, { type: T }>[];
}

/** What joins at a desk. */
export const DEVICE = {
  executor: "wasm" as const,
  description: "desk",
  deterministic: true,
  software: false,
  platform: "test",
  memoryBytes: 0,
};
const REPORT: Report = { loss: 2, top1: 1, top5: 2, computeMs: 1 };

/** Options of a run of one epoch that starts anew. */
export function deskOptions(units: number, more: Partial<SessionOptions> = {}): SessionOptions {
  let ids = 0;
  return {
    ...tinySession(units, 1),
    start: namesOf(initialState("tiny", "f32")),
    tools: {
      mac: (text) => toyMac(1, text),
      freshId: () => toyMac(2, `${ids++}`).slice(0, 16),
    },
    startedAt: 1_000_000,
    ...more,
  };
}

export function openDesk(units = 4, more: Partial<SessionOptions> = {}): Desk {
  const session = openSession(deskOptions(units, more));
  const held = new Map<number, { to: string; lease: Lease }>();
  let requests = 0;
  const desk: Desk = {
    session,
    log: [],
    now: 1_000_000,
    reply: answerOf,
    send(event) {
      const effects = session.handle(event, desk.now);
      const answers: CoreEvent[] = [];
      for (const effect of effects) {
        desk.log.push(effect);
        if (effect.type === "lease") held.set(effect.lease.lease, effect);
        if (effect.type === "revoke") held.delete(effect.revoke.lease);
        const answer = desk.reply(effect);
        if (answer) answers.push(answer);
      }
      for (const answer of answers) desk.send(answer);
    },
    join(want = 1, memoryBytes = 0) {
      const request = requests++;
      const device = { ...DEVICE, memoryBytes };
      const hello = { protocol: PROTOCOL_VERSION, build: "test", device };
      desk.send({ type: "hello", request, hello });
      const answer = desk.of("answer").find((effect) => effect.request === request);
      if (!answer?.volunteer) throw new Error(`refused: ${JSON.stringify(answer)}`);
      desk.send({ type: "want", volunteer: answer.volunteer, want: { leases: want } });
      return answer.volunteer;
    },
    leasesOf: (volunteer) =>
      [...held.values()].filter(({ to }) => to === volunteer).map(({ lease }) => lease),
    upload(volunteer, lease) {
      held.delete(lease);
      desk.now += 100;
      desk.send({ type: "traffic", bytesIn: 1000, bytesOut: 300 });
      desk.send({ type: "uploaded", volunteer, lease });
    },
    work(until = () => false) {
      for (let rounds = 0; rounds < 10_000; rounds++) {
        if (until()) return;
        const next = [...held.values()][0];
        if (!next) return;
        desk.upload(next.to, next.lease.lease);
      }
      throw new Error("this does not end");
    },
    of: <T extends Effect["type"]>(type: T) =>
      desk.log.filter((effect): effect is Extract<Effect, { type: T }> => effect.type === type),
  };
  desk.send({ type: "tick" });
  return desk;
}

/** What a sound shell answers. */
export function answerOf(effect: Effect): CoreEvent | undefined {
  switch (effect.type) {
    case "verify":
      return { type: "verified", lease: effect.lease, report: REPORT };
    case "add":
      return { type: "added", step: effect.step, node: effect.node };
    case "commit": {
      const name = `after-${effect.step + 1}`;
      const weights = {
        parameters: name,
        statistics: name,
        emaParameters: `${name}-ema`,
        emaStatistics: `${name}-ema`,
      };
      return { type: "committed", step: effect.step, weights, gradNorm: 1, finite: true };
    }
    case "checkpoint":
      return { type: "checkpointed", step: effect.step, file: `step-${effect.step}`, bytes: 9 };
    default:
      return undefined;
  }
}
