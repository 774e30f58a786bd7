/**
 * The shell's work on vectors in a simulation: the real frames, sums and optimizer on the tiny
 * model, or only their times and bytes where a run is asked how fast it would go. Every sum
 * remembers which units went into it, and anything that the core must not ask for throws.
 */

import { type Codec, decodeGradient } from "@swarmvit/shared/codec";
import { FrameError, type FrameId, type Report } from "@swarmvit/shared/frame";
import { type Node, nodeKey, unitRange } from "@swarmvit/shared/tree";
import { addVectors } from "../core/average.ts";
import type { CoreEvent, Effect, PublishedWeights } from "../core/messages.ts";
import type { Uploads } from "../server/uploads.ts";
import { verifyContribution } from "../vectors/verify-contribution.ts";
import type { Chance } from "./chance.ts";
import type { Clock } from "./clock.ts";
import type { SimulatedDisk } from "./disk.ts";
import { type Arithmetic, applyStep, copyState, namesOf } from "./state.ts";
import { TINY_TABLE } from "./tiny-model.ts";

/** Milliseconds that the shell takes, on average. */
export interface ShellCosts {
  readonly verifyMs: number;
  readonly addMs: number;
  readonly commitMs: number;
  readonly checkpointMs: number;
}

export interface VectorsContext {
  readonly clock: Clock;
  readonly chance: Chance;
  readonly arithmetic: Arithmetic;
  readonly codec: Codec;
  readonly costs: ShellCosts;
  readonly uploads: Uploads;
  /** U. */
  readonly unitCount: number;
  answer(event: CoreEvent): void;
  readonly disk: SimulatedDisk;
}

export interface SimulatedVectors {
  /** Does an effect on vectors; true if it was one. */
  perform(effect: Effect): boolean;
  /** A counted upload is in: what it says. */
  report(lease: number, report: Report): void;
  /** Published float32 vectors by hash: the newest ones. */
  download(hash: string): Float32Array | undefined;
  readonly weights: PublishedWeights;
  close(): void;
}

interface Sum {
  readonly first: number;
  readonly end: number;
  samples: number;
  readonly gradient: Float32Array;
  readonly statistics: Float32Array;
}

const NOTHING = new Float32Array(0);
const KEPT_PUBLISHED = 3;
const DISK_FULL = "no space left on device";

/** Opens the vectors of one life of a coordinator. Work is done in turn; answers take a while. */
export function openSimulatedVectors(context: VectorsContext): SimulatedVectors {
  const { clock, chance, arithmetic, codec, costs, uploads, unitCount } = context;
  const steps = new Map<number, Map<string, Sum>>();
  const reports = new Map<number, Report>();
  const published = new Map<string, Float32Array>();
  let state = copyState(context.disk.newest().state);
  let closed = false;
  let readyAt = 0;

  const publish = (evaluated = true): PublishedWeights => {
    const names = namesOf(state, evaluated);
    published.set(names.parameters, state.published.slice());
    if (names.emaParameters) published.set(names.emaParameters, state.emaWeights.slice());
    for (const old of published.keys()) {
      if (published.size <= 2 * KEPT_PUBLISHED) break;
      published.delete(old);
    }
    return names;
  };
  let weights = publish();

  /** After everything before it, and a while for the work itself. */
  const inTurn = (costMs: number, work: () => CoreEvent | undefined) => {
    const spread = arithmetic === "tiny" ? chance.between(0, 2) : 1;
    readyAt = Math.max(readyAt, clock.now) + costMs * spread;
    clock.after(readyAt - clock.now, () => {
      if (closed) return;
      const event = work();
      if (!event) return;
      // A crash between the work and its answer must do no harm.
      if (arithmetic === "counted") context.answer(event);
      else clock.after(chance.between(0, 10), () => !closed && context.answer(event));
    });
  };
  const sumsOf = (step: number) => {
    let sums = steps.get(step);
    if (!sums) {
      sums = new Map();
      steps.set(step, sums);
    }
    return sums;
  };
  const take = (step: number, node: Node): Sum => {
    const sum = sumsOf(step).get(nodeKey(node));
    if (!sum) throw new Error(`step ${step} has no vector at node ${nodeKey(node)}`);
    sumsOf(step).delete(nodeKey(node));
    return sum;
  };
  const put = (step: number, node: Node, sum: Sum) => {
    const { first, end } = unitRange(node, unitCount);
    if (sum.first !== first || sum.end !== end)
      throw new Error(
        `node ${nodeKey(node)} of step ${step} holds units ${sum.first} to ${sum.end}`,
      );
    sumsOf(step).set(nodeKey(node), sum);
  };

  const verify = (lease: number, expected: FrameId): CoreEvent => {
    const frame = uploads.take(lease);
    if (!frame) throw new Error(`lease ${lease} has no whole upload to verify`);
    let report = reports.get(lease);
    reports.delete(lease);
    let gradient: Float32Array = NOTHING;
    let statistics: Float32Array = NOTHING;
    if (arithmetic === "tiny")
      try {
        const verified = verifyContribution(frame, expected, [], TINY_TABLE);
        gradient = valuesOf(verified.gradient);
        ({ report, statistics } = verified);
      } catch (error) {
        if (!(error instanceof FrameError)) throw error;
        return { type: "refused", lease, code: error.code, detail: error.message };
      }
    if (!report) throw new Error(`lease ${lease} has no report`);
    const { step, samples } = expected;
    if (expected.kind === "gradient")
      put(step, expected, { ...unitRange(expected, unitCount), samples, gradient, statistics });
    return { type: "verified", lease, report };
  };
  const add = ({ step, node, left, right }: Extract<Effect, { type: "add" }>): CoreEvent => {
    const a = take(step, left);
    const b = take(step, right);
    addVectors(a.gradient, a.gradient, b.gradient);
    addVectors(a.statistics, a.statistics, b.statistics);
    put(step, node, { ...a, end: b.end, samples: a.samples + b.samples });
    return { type: "added", step, node };
  };
  const commit = (effect: Extract<Effect, { type: "commit" }>): CoreEvent => {
    const { step, root, samples, lr, log, evaluated } = effect;
    if (context.disk.isFull()) return { type: "commit-failed", step, detail: DISK_FULL };
    const sum = take(step, root);
    if (step !== state.steps) throw new Error(`step ${step} is committed after ${state.steps}`);
    if (sum.first !== 0 || sum.end !== unitCount || sum.samples !== samples)
      throw new Error(`step ${step} sums ${sum.samples} samples, not ${samples}`);
    const { gradNorm, finite } = applyStep(state, codec, sum, samples, lr);
    weights = publish(evaluated);
    if (finite) context.disk.append({ ...log.core, weights }, copyState(state));
    return { type: "committed", step, weights, gradNorm, finite };
  };

  return {
    get weights() {
      return weights;
    },
    report: (lease, report) => reports.set(lease, report),
    download: (hash) => published.get(hash),
    close() {
      closed = true;
    },
    perform(effect) {
      switch (effect.type) {
        case "verify":
          inTurn(costs.verifyMs, () => verify(effect.lease, effect.expected));
          return true;
        case "add":
          inTurn(costs.addMs, () => add(effect));
          return true;
        case "alias":
          inTurn(0, () => {
            put(effect.step, effect.node, take(effect.step, effect.child));
            return undefined;
          });
          return true;
        case "commit":
          inTurn(costs.commitMs, () => commit(effect));
          return true;
        case "forget-step":
          inTurn(0, () => {
            steps.delete(effect.step);
            return undefined;
          });
          return true;
        case "drop-upload":
          uploads.drop(effect.lease);
          reports.delete(effect.lease);
          return true;
        case "checkpoint":
          inTurn(costs.checkpointMs, () => {
            if (effect.core.weights.parameters !== weights.parameters)
              throw new Error(`the checkpoint of step ${effect.step} names other weights`);
            const { step, core } = effect;
            if (context.disk.isFull())
              return { type: "checkpoint-failed", step, detail: DISK_FULL };
            context.disk.checkpoint(core, copyState(state));
            return { type: "checkpointed", step, file: `step-${step}`, bytes: 1 };
          });
          return true;
        case "rollback":
          inTurn(costs.checkpointMs, () => {
            const restored = context.disk.before(effect.before);
            state = copyState(restored.state);
            weights = publish();
            return { type: "rolled-back", step: state.steps, weights };
          });
          return true;
        case "save-best":
          return true;
        default:
          return false;
      }
    },
  };
}

function valuesOf(gradient: Float32Array | Uint8Array): Float32Array {
  return gradient instanceof Float32Array ? gradient : decodeGradient("int8", TINY_TABLE, gradient);
}
