/**
 * Drives the real core through a seeded swarm in virtual time: its clock, chance, transport and
 * storage are the simulation's, and a ledger beside it checks what must always be true.
 */

import type { MetricRecord, RunState } from "@swarmvit/shared/run";
import { openChance, toyTools } from "./chance.ts";
import { openClock } from "./clock.ts";
import { openCrowd } from "./crowd.ts";
import { openDisk } from "./disk.ts";
import { openLedger } from "./ledger.ts";
import { type Life, openLife } from "./life.ts";
import { openLine } from "./line.ts";
import { openLiveness } from "./liveness.ts";
import { initialState } from "./state.ts";
import type { SwarmConfig } from "./swarm-config.ts";
import { openTally, type Tally } from "./tally.ts";
import { openWeather } from "./weather.ts";

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
  /** Real milliseconds in the core, and its events. */
  readonly coreMs: number;
  readonly events: number;
}

/** When a swarm begins, in virtual Unix milliseconds. */
export const START_MS = 1_000_000;

/** Runs a swarm until its last step. Violations are collected; a run that stands still is one. */
export function runSwarm(config: SwarmConfig): SwarmOutcome {
  const { faults, faultsUntilStep } = config;
  const chance = openChance(config.seed);
  const clock = openClock(START_MS);
  const violations: string[] = [];
  const violate = (what: string) => {
    violations.push(`${((clock.now - START_MS) / 1000).toFixed(3)} s: ${what}`);
  };
  const records: MetricRecord[] = [];
  let life: Life | undefined;
  let crashes = 0;
  let ended = false;
  let coreMs = 0;
  let events = 0;

  /** False where the run is over or the coordinator is down already. */
  const crash = (): boolean => {
    if (ended || !life) return false;
    life.end();
    life = undefined;
    crashes++;
    crowd.dropped();
    const downMs = chance.between(100, 5000);
    weather.faulted(clock.now + downMs + 10_000);
    clock.after(downMs, boot);
    return true;
  };
  const boot = () => {
    life = openLife({
      ...around,
      ...{ liveness, ledger, disk, violate },
      ...{ tools, startedAt: START_MS, fence: crashes + 1 },
      handled(ms) {
        coreMs += ms;
        events++;
      },
      record: (record) => records.push(record),
      finished() {
        ended = true;
      },
    });
    ledger.restarted(disk.newest().core?.step ?? 0);
    life.send({ type: "opened" });
    life.send({ type: "tick" });
  };
  const commits = () => ledger.commits;
  const ledger = openLedger({
    planner: config.session.planner,
    unitCount: config.unitCount,
    reference: config.reference,
    isHonest: (id) => crowd.isHonest(id),
    struck: () => life?.session.snapshot().struck.length ?? 0,
    violate,
  });
  const tally = openTally(clock);
  const weather = openWeather({ clock, chance, faults, faultsUntilStep, commits, crash });
  const around = { config, clock, chance, weather, tally };
  const crowd = openCrowd({
    ...around,
    openLine: (volunteer) =>
      life && openLine({ ...around, violate, named: crowd.named }, life, volunteer),
  });
  const liveness = openLiveness({
    ...{ config, clock, weather, commits, fit: () => crowd.fit, violate },
  });
  const first = { state: initialState(config.arithmetic, config.codec) };
  const disk = openDisk(first, () => weather.isDiskFull);
  const tools = toyTools(config.seed);

  boot();
  crowd.begin();
  weather.begin();
  for (let isOver = false; !isOver; ) {
    const until = liveness.patientUntil;
    isOver = clock.run(until, () => ended || violations.length > 0);
    if (!isOver && liveness.patientUntil <= until) {
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
