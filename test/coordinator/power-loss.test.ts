// Real storage and vectors over a disk whose power is cut: nothing that was published is ever lost.

import { openChance } from "@swarmvit/coordinator/simulate/chance";
import { describe, expect, it } from "vitest";
import { listCheckpoints } from "../../packages/coordinator/src/storage/checkpoint-store.ts";
import {
  isWithin,
  openMetricsLog,
  repairMetrics,
} from "../../packages/coordinator/src/storage/metrics-log.ts";
import { openRunRecord } from "../../packages/coordinator/src/storage/run-record.ts";
import { openVectorWork } from "../../packages/coordinator/src/vectors/vector-work.ts";
import { openSimulatedDisk } from "../support/simulated-disk.ts";
import {
  commitTiny,
  initializeTiny,
  retryTiny,
  TINY_TABLE,
  tinySetup,
} from "../support/tiny-vectors.ts";

const SEEDS = 2000;
const LIVES = 3;
const STEPS_A_LIFE = 9;
const METRICS = "/run/metrics.jsonl";

/** One run of several lives. Throws when something published is lost or changed. */
async function surviveSeed(seed: number) {
  const chance = openChance(seed);
  const disk = openSimulatedDisk(chance);
  const codec = (["f32", "f16", "int8"] as const)[chance.below(3)];
  const setup = { ...tinySetup(codec), metricsPath: METRICS };
  const told = { cuts: 0, refusals: 0, rollbacks: 0, damaged: 0 };
  disk.makeDirectory("/run");
  /** Hash of the published weights after each step, as the world saw them. */
  let published: string[] = [];
  /** A roll-back to this step was begun and not answered. */
  let backTo: number | undefined;
  let rollbacks = 0;
  let fence = 0;

  const live = async (last: boolean) => {
    if (!last) disk.cutPowerAfter(1 + chance.below(140));
    const record = openRunRecord(disk, "/run", 0);
    if (record.fence <= fence) throw new Error(`fence ${record.fence} was used before`);
    fence = record.fence;
    const work = openVectorWork(setup, disk, TINY_TABLE);
    const restored = work.restore();
    if (!restored) initializeTiny(work);
    if (published.length === 0) published = [work.publish().weights.parameters];
    const replayed = work.replay();
    if (replayed.warnings.length > 0) throw new Error(replayed.warnings.join());
    let step = replayed.core?.step ?? restored?.core.step ?? 0;
    const hash = replayed.weights.parameters;
    const known = published.length - 1;
    if (step < (backTo ?? known)) throw new Error(`step ${known} was published, ${step} came back`);
    if (step > known + 1) throw new Error(`step ${step} came back after ${known}`);
    if (step <= known && published[step] !== hash)
      throw new Error(`step ${step} has other weights`);
    published = [...published.slice(0, step), hash];
    backTo = undefined;
    const records = repairMetrics(disk, METRICS, step, replayed.records);
    const lines = records.map((line) => (line.kind === "step" ? line.weights : ""));
    expect(records.map((line) => line.step)).toEqual(lines.map((_, i) => i + 1));
    expect(lines).toEqual(published.slice(0, step));
    const metrics = openMetricsLog(disk, METRICS);

    for (const end = step + STEPS_A_LIFE; step < end; ) {
      if (chance.happens(0.05)) {
        told.rollbacks++;
        const checkpoints = listCheckpoints(disk, setup.checkpointDirectory);
        backTo = checkpoints.findLast((entry) => entry.step < step)?.step ?? 0;
        if (!work.restore(step)) initializeTiny(work);
        work.dropLater();
        metrics.cut((line) => isWithin(line, backTo ?? 0));
        if (work.publish().weights.parameters !== published[backTo])
          throw new Error("not what was rolled to");
        step = backTo;
        published.length = step + 1;
        backTo = undefined;
        rollbacks++; // what comes now are other gradients
      }
      disk.capacity = chance.happens(0.1) ? chance.below(20_000) : Number.POSITIVE_INFINITY;
      let result = await commitTiny(
        work,
        codec,
        step,
        seed + 7 * step + rollbacks,
        published[step],
      );
      while ("unlogged" in result) {
        if (disk.isDead) throw new Error(result.unlogged);
        told.refusals++;
        disk.capacity = chance.happens(0.5) ? disk.capacity : Number.POSITIVE_INFINITY;
        result = await retryTiny(work, step, published[step]);
      }
      disk.capacity = Number.POSITIVE_INFINITY;
      step++;
      published.push(result.weights.parameters);
      const { from, log, gradNorm } = { ...result, from: published[step - 1], log: step };
      metrics.append({ kind: "step", step: log, weights: from, grad_norm: gradNorm } as never);
      if (step % 3 === 0) {
        const { weights } = result;
        const best = { step: 3, top1: 0.5 };
        work.checkpoint({ schema: 1, step, struck: [], evaluatedAt: 0, weights, fence, best });
      }
    }
  };

  for (let life = 0; life <= LIVES; life++) {
    try {
      await live(life === LIVES);
    } catch (error) {
      if (!disk.isDead) throw new Error(`seed ${seed}, life ${life}: ${error}`, { cause: error });
      told.cuts++;
    }
    disk.capacity = Number.POSITIVE_INFINITY;
    if (!disk.isDead) continue;
    disk.restart();
  }
  return told;
}

describe("power cuts", () => {
  it(`lose nothing that was published, in ${SEEDS} seeds`, async () => {
    const told = { cuts: 0, refusals: 0, rollbacks: 0 };
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { cuts, refusals, rollbacks } = await surviveSeed(seed);
      told.cuts += cuts;
      told.refusals += refusals;
      told.rollbacks += rollbacks;
    }
    // The seeds must have met what they are for.
    expect(told.cuts).toBeGreaterThan(SEEDS);
    expect(told.refusals).toBeGreaterThan(SEEDS / 10);
    expect(told.rollbacks).toBeGreaterThan(SEEDS / 10);
  }, 120_000);
});
