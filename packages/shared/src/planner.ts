/**
 * The step planner (DESIGN section 5): which samples, at which sizes, make up step t. A pure
 * function of the seed, so the coordinator can resume anywhere and nobody's presence changes it.
 */

import { drawSize, type SizeTuple } from "./multiscale.ts";
import { hash32, permutation, siteSeed } from "./random.ts";

/** One micro-batch of a step, and one batch-norm group. */
export interface Unit {
  readonly index: number;
  readonly height: number;
  readonly width: number;
  /** Sample ids: positions in the packed training split. */
  readonly samples: readonly number[];
  readonly seed: number;
}

export interface StepPlan {
  readonly step: number;
  /** Ordered by size, so that neighbours in the tree share a size. */
  readonly units: readonly Unit[];
  /** N, the samples of the step. */
  readonly samples: number;
  /** Position in the endless stream of epochs before and after this step. */
  readonly cursor: number;
  readonly nextCursor: number;
}

export interface ShardSpan {
  /** First sample id of the shard. */
  readonly first: number;
  readonly count: number;
}

export interface PlanConfig {
  readonly seed: number;
  /** U, the units of a step. */
  readonly unitCount: number;
  readonly sizes: readonly SizeTuple[];
  /** All units of a step draw the same size. */
  readonly oneSize: boolean;
  readonly shards: readonly ShardSpan[];
  readonly epochs: number;
}

export interface Planner {
  /** Samples in one epoch. */
  readonly epochSamples: number;
  /** Samples of the whole run: epochs · epochSamples. The schedule runs over them. */
  readonly totalSamples: number;
  /** Steps that fit into the run; the remainder of samples is dropped. */
  readonly totalSteps: number;
  /** Step t, counted from 0, without the struck samples. `undefined` beyond the end of the run. */
  planStep(step: number, struck?: ReadonlySet<number>): StepPlan | undefined;
}

const KEPT_PLANS = 2;

/** Opens the plan of a run. Errors when the data cannot fill one unit. */
export function openPlanner(config: PlanConfig): Planner {
  const epochSamples = config.shards.reduce((sum, shard) => sum + shard.count, 0);
  const largest = Math.max(...config.sizes.map((size) => size.batch));
  if (epochSamples < largest)
    throw new Error(
      `the training split has ${epochSamples} samples, but a unit needs ${largest}: add data or lower --unit-size`,
    );
  const totalSamples = epochSamples * config.epochs;
  const sampleAt = openEpochOrder(config);
  const cursors = cursorsOfSteps(config, totalSamples); // [totalSteps + 1]
  const totalSteps = cursors.length - 1;
  const unitSeed = siteSeed(config.seed, "unit");
  /** The newest two without struck samples: a step is looked at before it is opened, and while it is open. */
  const known = new Map<number, StepPlan>();

  return {
    epochSamples,
    totalSamples,
    totalSteps,
    planStep(step, struck) {
      if (!Number.isInteger(step) || step < 0 || step >= totalSteps) return undefined;
      const isWhole = !struck || struck.size === 0;
      const before = isWhole ? known.get(step) : undefined;
      if (before) return before;
      const cursor = cursors[step];
      let position = cursor;
      let samples = 0;
      const units = sizesOfStep(config, step).map(({ height, width, batch }, index): Unit => {
        const ids = new Array<number>(batch);
        for (let i = 0; i < batch; i++) ids[i] = sampleAt(position++);
        const kept = withoutStruck(ids, struck);
        samples += kept.length;
        return { index, height, width, samples: kept, seed: hash32(hash32(unitSeed, step), index) };
      });
      const plan = { step, units, samples, cursor, nextCursor: position };
      if (!isWhole) return plan;
      for (const old of known.keys()) if (known.size >= KEPT_PLANS) known.delete(old);
      known.set(step, plan);
      return plan;
    },
  };
}

/** The sizes of step t's units in tree order: drawn, then ordered by area. */
export function sizesOfStep(config: PlanConfig, step: number): SizeTuple[] {
  const seed = hash32(siteSeed(config.seed, "size"), step);
  const sizes: SizeTuple[] = [];
  for (let i = 0; i < config.unitCount; i++)
    sizes.push(drawSize(config.sizes, seed, config.oneSize ? 0 : i));
  return sizes.sort((a, b) => a.height * a.width - b.height * b.width || a.height - b.height);
}

/**
 * Where each step starts in the stream of samples. One pass over the draws: a million steps take
 * about a second, a resume is then a look-up.
 */
function cursorsOfSteps(config: PlanConfig, totalSamples: number): number[] {
  const cursors = [0];
  for (let step = 0, cursor = 0; ; step++) {
    for (const size of sizesOfStep(config, step)) cursor += size.batch;
    if (cursor > totalSamples) return cursors;
    cursors.push(cursor);
  }
}

/**
 * Position in the endless stream → sample id. An epoch is a permutation of shards, then of the
 * samples within each; two epochs are kept because units run across the boundary.
 */
function openEpochOrder(config: PlanConfig): (position: number) => number {
  const epochSamples = config.shards.reduce((sum, shard) => sum + shard.count, 0);
  const orders = new Map<number, Uint32Array>();
  const orderOf = (epoch: number): Uint32Array => {
    let order = orders.get(epoch);
    if (!order) {
      order = epochOrder(config, epoch, epochSamples);
      for (const old of orders.keys()) if (old < epoch - 1) orders.delete(old);
      orders.set(epoch, order);
    }
    return order;
  };
  let newest = { first: 0, end: 0, order: orderOf(0) };
  return (position) => {
    if (position < newest.first || position >= newest.end) {
      const epoch = Math.floor(position / epochSamples);
      const first = epoch * epochSamples;
      newest = { first, end: first + epochSamples, order: orderOf(epoch) };
    }
    return newest.order[position - newest.first];
  };
}

function epochOrder(config: PlanConfig, epoch: number, epochSamples: number): Uint32Array {
  const order = new Uint32Array(epochSamples);
  const epochSeed = hash32(siteSeed(config.seed, "epoch"), epoch);
  let position = 0;
  for (const shardIndex of permutation(config.shards.length, epochSeed)) {
    const shard = config.shards[shardIndex];
    for (const offset of permutation(shard.count, hash32(epochSeed, shardIndex)))
      order[position++] = shard.first + offset;
  }
  return order;
}

/**
 * A struck sample's place is taken by the unit's next sound one, so the unit keeps at least two
 * samples; a unit in which nothing is sound is left as it is and refused by whoever computes it.
 */
function withoutStruck(ids: number[], struck?: ReadonlySet<number>): number[] {
  if (!struck || struck.size === 0 || !ids.some((id) => struck.has(id))) return ids;
  const sound = ids.filter((id) => !struck.has(id));
  if (sound.length === 0) return ids;
  while (sound.length < 2) sound.push(sound[0]);
  return sound;
}
