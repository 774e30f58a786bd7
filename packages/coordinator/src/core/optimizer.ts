/** AdamW with decoupled weight decay (SPEC section 2): its state and settings; `vectors/kernels.ts` does the step. */

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
