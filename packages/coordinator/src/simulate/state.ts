/**
 * The vectors of a simulated run between two steps: how they begin, what they are named by, and the
 * real optimizer's step on them.
 */

import type { Codec } from "@swarmvit/shared/codec";
import { allFinite } from "@swarmvit/shared/finite";
import { hash32 } from "@swarmvit/shared/random";
import { averageGradient, gradientNorm } from "../core/average.ts";
import { emaMomentum } from "../core/ema.ts";
import type { PublishedWeights } from "../core/messages.ts";
import { ADAMW_DEFAULTS, biasCorrections } from "../core/optimizer.ts";
import { applyUpdate } from "../vectors/step-update.ts";
import { initialVectorState, type VectorState } from "../vectors/vector-state.ts";
import { TINY_STATISTICS, TINY_TABLE, TINY_WEIGHTS } from "./tiny-model.ts";

/** How a simulation does its arithmetic: `tiny` computes, `counted` only counts. */
export type Arithmetic = "tiny" | "counted";

const NOTHING = new Float32Array(0);
const OPTIMIZER = { ...ADAMW_DEFAULTS, weightDecay: 0.05 };

/** The state before any step. */
export function initialState(arithmetic: Arithmetic, codec: Codec): VectorState {
  if (arithmetic === "tiny")
    return initialVectorState(TINY_TABLE, codec, TINY_WEIGHTS, TINY_STATISTICS);
  const [weights, published, firstMoment, secondMoment, emaWeights] = Array(5).fill(NOTHING);
  const [statistics, emaStatistics] = [NOTHING, NOTHING];
  return {
    ...{ weights, published, firstMoment, secondMoment, emaWeights },
    ...{ statistics, emaStatistics, steps: 0 },
  };
}

export function copyState(state: VectorState): VectorState {
  return {
    weights: state.weights.slice(),
    published: state.published.slice(),
    firstMoment: state.firstMoment.slice(),
    secondMoment: state.secondMoment.slice(),
    emaWeights: state.emaWeights.slice(),
    statistics: state.statistics.slice(),
    emaStatistics: state.emaStatistics.slice(),
    steps: state.steps,
  };
}

/** Names of the published vectors, with the moving averages where they are to be evaluated. */
export function namesOf(state: VectorState, evaluated = true): PublishedWeights {
  return {
    parameters: nameOf(state.published, state.steps, "p"),
    statistics: nameOf(state.statistics, state.steps, "s"),
    ...(evaluated && {
      emaParameters: nameOf(state.emaWeights, state.steps, "e"),
      emaStatistics: nameOf(state.emaStatistics, state.steps, "t"),
    }),
  };
}

/** One optimizer step on a sum over N samples, as the shell does it; false where it would overflow. */
export function applyStep(
  state: VectorState,
  codec: Codec,
  { gradient, statistics }: { gradient: Float32Array; statistics: Float32Array },
  samples: number,
  lr: number,
): { readonly gradNorm: number; readonly finite: boolean } {
  averageGradient(gradient, samples);
  const gradNorm = gradientNorm(gradient);
  if (!(gradNorm < 1e19) || !allFinite(statistics)) return { gradNorm, finite: false };
  const t = state.steps + 1;
  const scalars = { samples, lr, emaMomentum: emaMomentum(t, "small") };
  const update = { gradient, statistics, ...scalars, ...biasCorrections(OPTIMIZER, t) };
  if (gradient.length > 0) applyUpdate(state, TINY_TABLE, codec, OPTIMIZER, update);
  else state.steps = t;
  return { gradNorm, finite: true };
}

function nameOf(vector: Float32Array, step: number, kind: string): string {
  let a = 0x811c9dc5 ^ step;
  let b = 0x9e3779b9;
  const bits = new Uint32Array(vector.buffer, vector.byteOffset, vector.length);
  for (let i = 0; i < bits.length; i++) {
    a = Math.imul(a ^ bits[i], 0x01000193);
    a ^= a >>> 15;
    b = Math.imul(b ^ (bits[i] + i), 0x85ebca6b);
    b ^= b >>> 13;
  }
  const hex = (value: number) => hash32(value, 0).toString(16).padStart(8, "0");
  return `${hex(a)}${hex(b)}${kind}`;
}
