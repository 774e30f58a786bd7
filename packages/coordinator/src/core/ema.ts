/** The moving average of weights and statistics that is evaluated and saved (DESIGN section 5). */

const PAPER_MOMENTUM = 5e-4;

/**
 * Share of the newest values after the t-th step, t from 1: 9/(10+t) until that falls to the
 * paper's constant, so that a run of minutes is not averaged with its random start.
 */
export function emaMomentum(t: number, recipe: "small" | "paper"): number {
  return recipe === "paper" ? PAPER_MOMENTUM : Math.max(PAPER_MOMENTUM, 9 / (10 + t));
}

/** ema ← ema·(1 - momentum) + momentum·current, in place. */
export function stepEma(ema: Float32Array, current: Float32Array, momentum: number): void {
  for (let i = 0; i < ema.length; i++) ema[i] = ema[i] * (1 - momentum) + momentum * current[i];
}
