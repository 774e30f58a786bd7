/**
 * When a run has run away: losses far above their recent history, several steps in a row. Medians,
 * so that single bad steps neither raise the alarm nor the bar; the step's own spread, so that noisy
 * small steps and smooth large ones are both judged by what is usual for them.
 */

/** Losses of recent steps that were usual, oldest first, and how many in a row were not. */
export interface LossWindow {
  readonly usual: number[];
  streak: number;
}

const WINDOW = 50;
/** Before that many steps nothing is said. */
const LEAST = 20;
/** Steps in a row that must be far off. */
const STREAK = 3;
/** Standard deviations above the median, and at least this share of it: both must be passed. */
const DEVIATIONS = 10;
const SHARE = 0.5;
/** A normal distribution's standard deviation in median absolute deviations. */
const SIGMA = 1.4826;

/** A window over the newest of these losses. */
export function openLosses(losses: readonly number[]): LossWindow {
  return { usual: losses.slice(-WINDOW), streak: 0 };
}

/** Forgets what was usual: after a roll-back, or when the host goes on all the same. */
export function clearLosses(window: LossWindow): void {
  window.usual.length = 0;
  window.streak = 0;
}

/** Takes a step's loss in; true when the run should stop and ask. */
export function isRunaway(window: LossWindow, loss: number): boolean {
  const { usual } = window;
  if (Number.isFinite(loss) && loss <= limitOf(usual)) {
    window.streak = 0;
    usual.push(loss);
    if (usual.length > WINDOW) usual.shift();
    return false;
  }
  window.streak++;
  return window.streak >= STREAK;
}

/** The usual loss; 0 before the first step. */
export function usualLoss({ usual }: LossWindow): number {
  return median(usual);
}

function limitOf(usual: readonly number[]): number {
  if (usual.length < LEAST) return Number.POSITIVE_INFINITY;
  const middle = median(usual);
  const spread = SIGMA * median(usual.map((loss) => Math.abs(loss - middle)));
  return middle + Math.max(DEVIATIONS * spread, SHARE * middle);
}

function median(values: readonly number[]): number {
  if (values.length === 0) return 0;
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}
