/** The line between a simulated volunteer and one life of the coordinator, with its delays. */

import type { Abandon, Credit, Hello, Refusal, Welcome } from "@swarmvit/shared/protocol";
import type { Chance } from "./chance.ts";
import type { Clock } from "./clock.ts";
import type { DeviceModel } from "./device.ts";
import type { Life } from "./life.ts";
import { openPipe } from "./link.ts";
import type { SwarmConfig } from "./swarm-config.ts";
import type { OpenTally } from "./tally.ts";
import type { SimulatedVolunteer } from "./volunteer.ts";
import type { Weather } from "./weather.ts";

/** What a volunteer can say; a line that is down says nothing. Messages arrive after the latency. */
export interface Line {
  hello(hello: Hello, answer: (answer: Welcome | Refusal) => void): void;
  want(leases: number): void;
  abandon(abandon: Abandon): void;
  offer(lease: number, bytes: number, answer: (answer: Credit | Refusal) => void): void;
  /** Bytes that arrive `afterMs` from now; `computeMs` is what a frame that is only counted would say. */
  chunk(lease: number, offset: number, bytes: Uint8Array, computeMs: number, afterMs: number): void;
  leave(): void;
  /** Closes it; the coordinator hears of it `afterMs` later. */
  close(afterMs: number): void;
  /** Weights by hash, or a delta from those that are held; undefined where there are none. */
  fetch(hash: string, held: string | undefined, got: (vector?: Float32Array) => void): void;
}

export interface LineContext {
  readonly config: SwarmConfig;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly weather: Weather;
  readonly tally: OpenTally;
  /** The coordinator gave a device an id. */
  named(id: string, device: DeviceModel): void;
  violate(what: string): void;
}

/** The coordinator notices a silent line after this. */
export const HEARTBEAT_MS = 45_000;
const MESSAGE_BYTES = 200;

/** Opens a line to a life of the coordinator; it is dead once that has ended. */
export function openLine(context: LineContext, at: Life, volunteer: SimulatedVolunteer): Line {
  const { config, clock, chance, weather, tally, violate } = context;
  const isTiny = config.arithmetic === "tiny";
  const { latencyMs, downBytesPerMs } = volunteer.device;
  const down = openPipe(clock, downBytesPerMs, 0);
  let id: string | undefined;
  let open = true;
  let upAt = 0;
  let downAt = 0;
  /** Messages keep their order, unless one overtakes. */
  const delayed = (arrivesAt: number, lastAt: number) =>
    weather.happens("reorder") ? arrivesAt : Math.max(arrivesAt, lastAt);
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
      up(() =>
        at.hello(hello, (as, welcome) => {
          id = as;
          if (id) {
            at.speakers.set(id, { volunteer, tell });
            context.named(id, volunteer.device);
          } else if (welcome.ok === false && welcome.code === "REMOVED") {
            if (volunteer.device.honest) violate("an honest volunteer was turned away for good");
          }
          tell(() => answer(welcome));
        }),
      ),
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
}

function countedReport(samples: number, computeMs: number) {
  return { loss: 2 * samples, top1: 0, top5: 0, computeMs };
}
