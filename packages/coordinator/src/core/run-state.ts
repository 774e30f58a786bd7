/** What pages are shown: the full state of the run, and its status in a few numbers. */

import type { RunStatus } from "@swarmvit/shared/protocol";
import type { RunState, VolunteerRow } from "@swarmvit/shared/run";
import { isAvailable, type Volunteer } from "./roster.ts";
import type { SessionState } from "./state.ts";
import { doneUnits, isUnitDone } from "./work.ts";

/** The snapshot that `/api/run` and dashboards get. */
export function runStateOf(state: SessionState): RunState {
  const { options, work } = state;
  const { run, validation } = options;
  const left = state.totalSteps - state.step;
  return {
    ...statusOf(state),
    name: run.name,
    id: run.id,
    model: run.model,
    parameters: run.parameterCount,
    dataset: {
      name: run.dataset,
      classes: run.classes,
      train: options.planner.epochSamples,
      validation: validation.shards.reduce((sum, shard) => sum + shard.count, 0),
    },
    startedAt: options.startedAt,
    etaSeconds: state.stepSeconds === undefined ? undefined : left * state.stepSeconds,
    lr: state.lr,
    bytesIn: state.bytesIn,
    bytesOut: state.bytesOut,
    open: work && {
      step: work.step,
      kind: work.kind,
      units: work.units.length,
      leased: work.units.filter(
        ({ index }) => !isUnitDone(work, index) && state.book.claims(index) > 0,
      ).length,
      done: doneUnits(work),
    },
    evaluation: state.evaluation,
    best: state.best,
    volunteers: [...state.roster.all()].map((volunteer) => rowOf(state, volunteer)),
    refusals: Object.fromEntries(state.refusals),
    checkpoints: state.checkpoints,
    config: options.config,
  };
}

/** The status that join pages get. */
export function statusOf(state: SessionState): RunStatus {
  const { epochSamples } = state.options.planner;
  const isRunning = state.phase === "training" || state.phase === "evaluating";
  const cursor = state.work?.kind === "gradient" ? state.work.plan.cursor : state.cursor;
  return {
    phase: state.phase,
    reason: state.reason,
    step: state.step,
    totalSteps: state.totalSteps,
    epoch: Math.min(state.options.epochs - 1, Math.floor(cursor / epochSamples)),
    epochs: state.options.epochs,
    loss: state.loss,
    top1: state.evaluation?.top1,
    volunteers: state.roster.connectedCount(),
    imagesPerSecond: isRunning ? state.imagesPerSecond : 0,
  };
}

function rowOf(state: SessionState, volunteer: Volunteer): VolunteerRow {
  let leases = 0;
  for (const { state: at } of state.book.of(volunteer.id)) if (at === "open") leases++;
  const { id, name, device, connected, imagesPerSecond } = volunteer;
  const present = leases > 0 ? "computing" : "idle";
  const active = isAvailable(volunteer) ? present : "paused";
  return {
    id,
    name,
    device: `${device.executor} · ${device.description}`,
    executor: device.executor,
    connected,
    state: connected ? active : "gone",
    imagesPerSecond,
    accepted: volunteer.accepted,
    refused: volunteer.refused,
    expired: volunteer.expired,
    samples: volunteer.samples,
    leases,
    lastStep: volunteer.lastStep,
    joinedAt: volunteer.joinedAt,
  };
}
