/** The smoothing that people know from TensorBoard: a debiased exponential moving average. */

/** What the slider starts with, as in TensorBoard. */
export const DEFAULT_SMOOTHING = 0.6;

/**
 * Smooths a series with a debiased exponential moving average: each value is the weighted mean of
 * all before it, with weights falling by `weight` in [0, 1) a point. Gaps (null) and non-finite
 * values stay gaps and do not move the average.
 */
export function smooth(values: readonly (number | null)[], weight: number): (number | null)[] {
  let sum = 0;
  let norm = 0;
  return values.map((value) => {
    if (value === null || !Number.isFinite(value)) return null;
    sum = sum * weight + (1 - weight) * value;
    norm = norm * weight + (1 - weight); // = 1 - weight^n: what is missing from the weights so far
    return sum / norm;
  });
}
