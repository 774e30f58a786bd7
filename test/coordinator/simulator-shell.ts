/**
 * The shell of a simulated coordinator: vectors are short lists of whole numbers that remember
 * which units and samples went into them, so that a commit can be checked exactly. Everything the
 * core must not ask for throws.
 */

import type {
  CoreEvent,
  CoreSnapshot,
  Effect,
  PublishedWeights,
} from "@swarmvit/coordinator/core/messages";
import type { FrameId, RefusalCode, Report } from "@swarmvit/shared/frame";
import type { Unit } from "@swarmvit/shared/planner";
import { hash32 } from "@swarmvit/shared/random";
import { type Node, nodeKey } from "@swarmvit/shared/tree";
import type { Chance, Clock } from "./simulator-clock.ts";

/** What stands for a gradient. */
export interface Vector {
  readonly units: readonly number[];
  readonly samples: readonly number[];
  readonly sum: number;
}

export interface Frame {
  readonly id: FrameId;
  readonly vector: Vector;
  readonly report: Report;
  /** A defect that verification will find. */
  readonly defect?: RefusalCode;
}

export interface Commit {
  readonly step: number;
  readonly samples: readonly number[];
  readonly lr: number;
  readonly weights: PublishedWeights;
}

/** The gradient of whole units, and its report. */
export function computeUnits(units: readonly Unit[], weights: string): [Vector, Report] {
  const salt = Number.parseInt(weights.slice(0, 8), 16);
  const samples = units.flatMap((unit) => [...unit.samples]);
  let sum = 0;
  for (const sample of samples) sum += hash32(salt, sample) % 1024;
  const report = {
    loss: samples.reduce((loss, sample) => loss + (sample % 7), 0),
    top1: samples.filter((sample) => sample % 3 === 0).length,
    top5: samples.filter((sample) => sample % 3 < 2).length,
    computeMs: 1,
  };
  return [{ units: units.map((unit) => unit.index), samples, sum }, report];
}

/** The weights before any step. */
export function initialWeights(): PublishedWeights {
  return namedWeights(12345);
}

export interface VectorShell {
  upload(lease: number, frame: Frame): void;
  /** Does an effect on vectors; true if it was one. */
  perform(effect: Effect): boolean;
  /** Vectors and uploads that are kept. */
  kept(): number;
  close(): void;
}

/**
 * Opens the vectors of one life of a coordinator whose weights are those after `step` commits.
 * Effects are done one after another; their answers come after a random while.
 */
export function openVectorShell(
  clock: Clock,
  chance: Chance,
  step: number,
  start: PublishedWeights,
  answer: (event: CoreEvent) => void,
  saved: (checkpoint: Extract<Effect, { type: "checkpoint" }>) => CoreEvent,
  committed: (commit: Commit, core: CoreSnapshot) => void,
): VectorShell {
  const uploads = new Map<number, Frame>();
  const slots = new Map<string, Vector>();
  let weights = start;
  let commits = step;
  let closed = false;
  let readyAt = 0;

  /** After everything before it, and a while for the work itself. */
  const inTurn = (work: () => CoreEvent | undefined) => {
    readyAt = Math.max(readyAt, clock.now) + chance.between(0, 20);
    clock.after(readyAt - clock.now, () => {
      if (closed) return;
      const event = work();
      if (event) clock.after(chance.between(0, 20), () => !closed && answer(event));
    });
  };
  const slotOf = (at: number, node: Node) => `${at} ${nodeKey(node)}`;
  const fetch = (at: number, node: Node) => {
    const vector = slots.get(slotOf(at, node));
    if (!vector) throw new Error(`step ${at} has no vector at node ${nodeKey(node)}`);
    return vector;
  };

  const verify = (effect: Extract<Effect, { type: "verify" }>): CoreEvent => {
    const { lease, expected, node } = effect;
    const frame = uploads.get(lease);
    if (!frame) throw new Error(`lease ${lease} has no upload to verify`);
    uploads.delete(lease);
    if (frame.defect) return { type: "refused", lease, code: frame.defect, detail: "injected" };
    if (JSON.stringify(frame.id) !== JSON.stringify(expected))
      return { type: "refused", lease, code: "MALFORMED", detail: "wrong header" };
    if (expected.kind === "gradient") slots.set(slotOf(expected.step, node), frame.vector);
    return { type: "verified", lease, report: frame.report };
  };
  const add = ({ step: at, node, left, right }: Extract<Effect, { type: "add" }>): CoreEvent => {
    const [a, b] = [fetch(at, left), fetch(at, right)];
    slots.set(slotOf(at, node), {
      units: [...a.units, ...b.units],
      samples: [...a.samples, ...b.samples],
      sum: a.sum + b.sum,
    });
    return { type: "added", step: at, node };
  };
  const commit = (effect: Extract<Effect, { type: "commit" }>): CoreEvent => {
    const { step: at, root, samples, lr, log } = effect;
    const vector = fetch(at, root);
    if (at !== commits) throw new Error(`step ${at} is committed after ${commits} commits`);
    vector.units.forEach((unit, i) => {
      if (unit !== i) throw new Error(`step ${at} sums units ${vector.units.join()}`);
    });
    if (vector.samples.length !== samples)
      throw new Error(`step ${at} has ${vector.samples.length} samples, not ${samples}`);
    weights = namedWeights(
      hash32(
        Number.parseInt(weights.parameters.slice(0, 8), 16),
        vector.sum + Math.round(lr * 1e8),
      ),
    );
    commits++;
    committed({ step: at, samples: vector.samples, lr, weights }, { ...log.core, weights });
    return { type: "committed", step: at, weights, gradNorm: 1, finite: true };
  };

  return {
    upload: (lease, frame) => uploads.set(lease, frame),
    kept: () => slots.size + uploads.size,
    close() {
      closed = true;
    },
    perform(effect) {
      switch (effect.type) {
        case "verify":
          inTurn(() => verify(effect));
          return true;
        case "add":
          inTurn(() => add(effect));
          return true;
        case "alias":
          inTurn(() => {
            slots.set(slotOf(effect.step, effect.node), fetch(effect.step, effect.child));
            return undefined;
          });
          return true;
        case "commit":
          inTurn(() => commit(effect));
          return true;
        case "forget-step":
          inTurn(() => {
            for (const key of slots.keys())
              if (key.startsWith(`${effect.step} `)) slots.delete(key);
            return undefined;
          });
          return true;
        case "drop-upload":
          uploads.delete(effect.lease);
          return true;
        case "checkpoint":
          inTurn(() => {
            if (effect.core.weights.parameters !== weights.parameters)
              throw new Error(`the checkpoint of step ${effect.step} names other weights`);
            return saved(effect);
          });
          return true;
        default:
          return false;
      }
    },
  };
}

function namedWeights(value: number): PublishedWeights {
  const name = value.toString(16).padStart(8, "0");
  return {
    parameters: `${name}p`,
    statistics: `${name}s`,
    emaParameters: `${name}e`,
    emaStatistics: `${name}t`,
  };
}
