/** A simulated volunteer: computes what it is leased, at its speed, with the faults of its kind. */

import { type Hello, type Lease, PROTOCOL_VERSION } from "@swarmvit/shared/protocol";
import { type Held, openAnswers } from "./answers.ts";
import type { Chance } from "./chance.ts";
import type { Clock } from "./clock.ts";
import type { DeviceModel } from "./device.ts";
import { HEARTBEAT_MS, type Line } from "./line.ts";
import type { Arithmetic } from "./state.ts";
import type { Weather } from "./weather.ts";

export interface SimulatedVolunteer {
  readonly device: DeviceModel;
  readonly gone: boolean;
  /** True while it can be given work and would do it. */
  readonly fit: boolean;
  /** Milliseconds of computing so far. */
  readonly busyMs: number;
  connect(): void;
  /** The line went down from the other side. */
  dropped(): void;
  lease(lease: Lease): void;
  /** The lease is revoked, or its contribution judged. */
  settled(lease: number): void;
  /** No reconnecting: the run or this device is finished. */
  dismissed(): void;
  /** The tab is closed. */
  quit(): void;
}

export interface VolunteerContext {
  readonly device: DeviceModel;
  readonly clock: Clock;
  readonly chance: Chance;
  readonly weather: Weather;
  readonly arithmetic: Arithmetic;
  readonly undecodable: ReadonlySet<number>;
  readonly runId: string;
  readonly chunkBytes: number;
  /** Undefined while the coordinator is down. */
  openLine(volunteer: SimulatedVolunteer): Line | undefined;
}

/** Opens a volunteer that is not yet connected. */
export function openVolunteer(context: VolunteerContext): SimulatedVolunteer {
  const { device, clock, chance, weather } = context;
  const held = new Map<number, Held>();
  const weights = new Map<string, Float32Array>();
  let line: Line | undefined;
  let who: { id: string; secret: string } | undefined;
  let computing: { at: Held; startedAt: number; unitMs: number } | undefined;
  let fetching: string | undefined;
  let newest: string | undefined;
  let paused = false;
  let gone = false;
  let frozenUntil = 0;
  let busyMs = 0;

  /** Puts off what happens while the device stands still; forgets it once it is gone. */
  const awake = (act: () => void): void => {
    if (gone) return;
    if (clock.now < frozenUntil) clock.after(frozenUntil - clock.now, () => awake(act));
    else act();
  };
  const later = (ms: number, act: () => void) => clock.after(ms, () => awake(act));

  const work = () => {
    if (computing || paused || gone) return;
    let next: Held | undefined;
    for (const at of held.values())
      if (!at.frame) {
        next = at;
        break;
      }
    if (!next) return;
    const { lease } = next;
    if (!weights.has(lease.weights)) {
      fetch(lease.weights);
      return;
    }
    const slow = weather.happens("slow") ? chance.between(3, 30) : 1;
    let ms = 0;
    for (const { samples, height, width } of lease.units)
      ms +=
        ((samples.length * height * width) / device.speed) *
        (device.jitter > 0 ? 1 + device.jitter * (2 * chance.next() - 1) : 1);
    ms *= slow;
    if (slow > 1) weather.faulted(clock.now + ms);
    const task = { at: next, startedAt: clock.now, unitMs: ms / lease.units.length };
    computing = task;
    later(ms, () => {
      if (computing !== task) return;
      computing = undefined;
      busyMs += ms;
      task.at.computeMs = ms;
      answers.computed(task.at);
      work();
    });
  };

  const fetch = (hash: string) => {
    if (fetching === hash || !line) return;
    fetching = hash;
    const asked = line;
    line.fetch(hash, newest, (vector) =>
      awake(() => {
        if (asked !== line) return;
        fetching = undefined;
        if (!vector) {
          // A coordinator that has started again does not have them (yet).
          for (const { lease } of held.values())
            if (lease.weights === hash) {
              weather.faulted(clock.now);
              held.delete(lease.lease);
              line?.abandon({ lease: lease.lease, reason: "weights" });
            }
          work();
          return;
        }
        newest = hash;
        weights.set(hash, vector);
        for (const old of weights.keys()) {
          if (weights.size <= 2) break;
          weights.delete(old);
        }
        work();
      }),
    );
  };

  const disconnect = (awayMs: number) => {
    if (!line) return;
    weather.faulted(clock.now + awayMs);
    line.close(0);
    line = undefined;
    fetching = undefined;
    later(awayMs, connect);
  };
  const pause = (ms: number) => {
    weather.faulted(clock.now + ms);
    paused = true;
    for (const lease of held.keys()) settled(lease);
    line?.want(0);
    later(ms, () => {
      paused = false;
      line?.want(device.want);
    });
  };
  const freeze = (ms: number) => {
    frozenUntil = clock.now + ms;
    weather.faulted(frozenUntil);
    const frozen = line;
    if (ms > HEARTBEAT_MS)
      clock.after(HEARTBEAT_MS, () => {
        if (frozen && frozen === line) disconnect(frozenUntil - clock.now);
      });
  };
  const quit = (noticedMs: number) => {
    weather.faulted(clock.now + noticedMs);
    gone = true;
    line?.close(noticedMs);
    line = undefined;
  };
  const settled = (lease: number) => {
    const at = held.get(lease);
    if (!at) return;
    held.delete(lease);
    if (computing?.at !== at) return;
    // Stops where the unit that it is at ends.
    const { startedAt, unitMs } = computing;
    const endsAt = startedAt + Math.ceil((clock.now - startedAt) / unitMs) * unitMs;
    busyMs += endsAt - startedAt;
    const stopping = { at, startedAt: endsAt, unitMs };
    computing = stopping;
    later(endsAt - clock.now, () => {
      if (computing !== stopping) return;
      computing = undefined;
      work();
    });
  };

  const answers = openAnswers({
    ...context,
    ...{ held, weights, line: () => line, awake, later },
    ...{ settled, disconnect, pause, freeze, quit },
  });

  const connect = () => {
    if (gone || line) return;
    line = context.openLine(volunteer);
    const opened = line;
    if (!opened) {
      later(chance.between(500, 5000), connect);
      return;
    }
    const hello: Hello = {
      protocol: PROTOCOL_VERSION,
      build: "simulated",
      device: {
        executor: "wasm",
        description: device.name,
        deterministic: true,
        software: false,
        platform: "simulated",
        memoryBytes: device.memoryBytes,
      },
      ...(who ? { resume: who } : {}),
    };
    opened.hello(hello, (welcome) =>
      awake(() => {
        if (line !== opened) return;
        if (!welcome.ok) {
          gone = welcome.code === "FINISHED" || welcome.code === "REMOVED";
          line = undefined;
          opened.close(0);
          if (!gone) later(5000, connect);
          return;
        }
        const { id, secret } = welcome.volunteer;
        if (who && who.id !== id) held.clear();
        who = { id, secret };
        opened.want(paused ? 0 : device.want);
        for (const at of held.values()) if (at.frame) answers.send(at);
        work();
      }),
    );
  };

  const volunteer: SimulatedVolunteer = {
    device,
    get gone() {
      return gone;
    },
    get fit() {
      return (
        !gone && line !== undefined && who !== undefined && !paused && clock.now >= frozenUntil
      );
    },
    get busyMs() {
      return busyMs;
    },
    connect,
    dropped() {
      line = undefined;
      fetching = undefined;
      later(chance.between(100, 3000), connect);
    },
    lease: (lease) =>
      awake(() => {
        const at = held.get(lease.lease);
        if (at) {
          if (at.frame) answers.send(at); // told again after a reconnect: it had been computed
          return;
        }
        if (paused) {
          line?.abandon({ lease: lease.lease, reason: "paused" });
          return;
        }
        held.set(lease.lease, { lease, computeMs: 0 });
        if (!weights.has(lease.weights)) fetch(lease.weights);
        work();
      }),
    settled: (lease) => awake(() => settled(lease)),
    dismissed() {
      gone = true;
      line = undefined;
    },
    quit: () => quit(0),
  };
  return volunteer;
}
