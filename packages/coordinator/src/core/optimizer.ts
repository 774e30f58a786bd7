/** AdamW with decoupled weight decay on flat arrays (SPEC section 2). */

import type { TensorSpec } from "@swarmvit/shared/parameters";

/** All [parameterCount], changed in place. */
export interface AdamWState {
  readonly weights: Float32Array;
  readonly firstMoment: Float32Array;
  readonly secondMoment: Float32Array;
}

export interface AdamWConfig {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** `matrices`: no decay for 1-D tensors. The paper decays all. */
  readonly decayed: "all" | "matrices";
}

/** What changes from step to step. */
export interface AdamWStep {
  readonly lr: number;
  /** 1 - beta1^t and 1 - beta2^t for the t-th step, t from 1. */
  readonly biasCorrection1: number;
  readonly biasCorrection2: number;
}

export const ADAMW_DEFAULTS = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decayed: "all" } as const;

/** The bias corrections of the t-th step, t from 1. */
export function biasCorrections(config: AdamWConfig, t: number) {
  return { biasCorrection1: 1 - config.beta1 ** t, biasCorrection2: 1 - config.beta2 ** t };
}

/** One step, in place: w ← w·(1 - lr·decay) - lr·m̂/(√v̂ + ε). Scalars in float64, one rounding a stored value. */
export function stepAdamW(
  state: AdamWState,
  gradient: Float32Array,
  tensors: readonly TensorSpec[],
  config: AdamWConfig,
  { lr, biasCorrection1, biasCorrection2 }: AdamWStep,
): void {
  const { weights, firstMoment, secondMoment } = state;
  const { beta1, beta2, epsilon, weightDecay, decayed } = config;
  const rate = lr / biasCorrection1;
  const root2 = Math.sqrt(biasCorrection2);
  const [newest1, newest2] = [1 - beta1, 1 - beta2];
  for (const { offset, size, shape } of tensors) {
    const keep = decayed === "all" || shape.length > 1 ? 1 - lr * weightDecay : 1;
    for (let i = offset; i < offset + size; i++) {
      const g = gradient[i];
      // Rounded before they are used: a resume from a checkpoint must see the same numbers.
      const first = Math.fround(beta1 * firstMoment[i] + newest1 * g);
      const second = Math.fround(beta2 * secondMoment[i] + newest2 * g * g);
      firstMoment[i] = first;
      secondMoment[i] = second;
      weights[i] = weights[i] * keep - (rate * first) / (Math.sqrt(second) / root2 + epsilon);
    }
  }
}
