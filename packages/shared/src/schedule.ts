/** The learning rate as a function of samples seen: linear warm-up, then cosine (SPEC section 3). */

export interface Schedule {
  readonly lr: number;
  readonly minLr: number;
  /** Where the warm-up starts. */
  readonly warmupLr: number;
  /** Length of the warm-up in samples. */
  readonly warmupSamples: number;
  readonly totalSamples: number;
  /** `epoch`: the paper's code; the cosine holds still inside an epoch and counts from the run's start. */
  readonly granularity: "sample" | "epoch";
  readonly epochSamples: number;
}

/** The rate for the step that starts after `samplesSeen` samples, rounded to 8 decimals like [P01]. */
export function learningRate(schedule: Schedule, samplesSeen: number): number {
  const { lr, minLr, warmupLr, warmupSamples, totalSamples, epochSamples } = schedule;
  if (samplesSeen < warmupSamples)
    return round8(warmupLr + (samplesSeen * (lr - warmupLr)) / warmupSamples);
  const progress =
    schedule.granularity === "epoch"
      ? Math.floor(samplesSeen / epochSamples) / Math.round(totalSamples / epochSamples)
      : (samplesSeen - warmupSamples) / Math.max(1, totalSamples - warmupSamples);
  return round8(minLr + 0.5 * (lr - minLr) * (1 + Math.cos(Math.PI * Math.min(1, progress))));
}

function round8(value: number): number {
  return Math.round(value * 1e8) / 1e8;
}
