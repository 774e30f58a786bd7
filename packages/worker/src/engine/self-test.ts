/**
 * Whether a device computes MobileViT rightly: one unit with a known answer, and one compared with
 * another executor. Takes two small units beside what the device needs to get started.
 */

import { parameterTable } from "@swarmvit/shared/parameters";
import { digestOf } from "./digest.ts";
import type { Batch, Executor, ModelConfig, NodeGradient } from "./executor.ts";
import { formulaBatch, formulaWeights } from "./formula-model.ts";
import { SELF_TEST_LOSS, selfTestDigests } from "./self-test-digest.ts";

/** Makes an executor of a model on a device. */
export type CreateExecutor = (config: ModelConfig) => Promise<Executor>;

/** Computes other numbers than it must: what, expected, got. Not for training on. */
export class SelfTestFailed extends Error {
  override readonly name = "SelfTestFailed";
}

export interface SelfTestOptions {
  /** An executor that is trusted, to compare gradients with: the local `wasm`. */
  readonly reference?: CreateExecutor;
  /** When given, a unit is timed after the tests: at least twice, and on until this time of `performance.now()`. */
  readonly measureUntil?: number;
}

export interface SelfTestReport {
  /** Best time of the timed unit, `MEASURED`; undefined where nothing was to be timed. */
  readonly unitMs?: number;
}

/** The unit that `auto` times: small, but large enough that a GPU has something to do. */
export const MEASURED = { height: 64, width: 64, samples: 8 } as const;

export const SELF_TEST_MODEL: ModelConfig = {
  variant: "xxs",
  classes: 1000,
  dropout: 0,
  headDropout: 0,
  smoothing: 0.1,
};
/**
 * Ten times what float32 needs on any order of summation (SPEC section 10): wide enough for a GPU's
 * own exp and division, far below what a broken driver or kernel gives.
 */
const TOLERANCE = { loss: 1e-4, element: 1e-3, norm: 1e-2, cosine: 0.9999 } as const;
/** The last timings of many cannot make a device faster than it is. */
const MOST_TIMED = 4;

/** Runs the test on a new executor and closes it. Throws `SelfTestFailed`, or what the executor throws. */
export async function runSelfTest(
  create: CreateExecutor,
  { reference, measureUntil }: SelfTestOptions = {},
): Promise<SelfTestReport> {
  const { variant, classes } = SELF_TEST_MODEL;
  const table = parameterTable(variant, classes);
  const { parameters } = formulaWeights(table);
  // Two sequences of odd maps: resized on the way, which the first unit is not.
  const odd = formulaBatch(variant, 40, 56, 2);
  const executor = await create(SELF_TEST_MODEL);
  try {
    await executor.setWeights(parameters);
    checkDigests(await nodeOf(executor, formulaBatch(variant, 64, 64, 4)));
    if (reference) {
      const got = await nodeOf(executor, odd);
      const judge = await reference(SELF_TEST_MODEL);
      try {
        await judge.setWeights(parameters);
        checkCosine(got, await nodeOf(judge, odd));
      } finally {
        await judge.close();
      }
    }
    return measureUntil === undefined ? {} : { unitMs: await timeUnit(executor, measureUntil) };
  } finally {
    await executor.close();
  }
}

async function nodeOf(executor: Executor, batch: Batch): Promise<NodeGradient> {
  const node = executor.startNode();
  await node.add(batch);
  return node.finish();
}

/** Best of a few units, the first of which is not counted. */
async function timeUnit(executor: Executor, until: number): Promise<number> {
  const { height, width, samples } = MEASURED;
  const batch = formulaBatch(SELF_TEST_MODEL.variant, height, width, samples);
  const node = executor.startNode();
  await node.add(batch);
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < MOST_TIMED && (i === 0 || performance.now() < until); i++) {
    const started = performance.now();
    await node.add(batch);
    best = Math.min(best, performance.now() - started);
  }
  node.abandon();
  return best;
}

/** A node of the first unit against the numbers that PyTorch gave. */
function checkDigests({ samples, loss, gradient }: NodeGradient): void {
  const mean = loss / samples;
  if (!(Math.abs(mean - SELF_TEST_LOSS) <= TOLERANCE.loss * SELF_TEST_LOSS))
    throw new SelfTestFailed(
      `the loss of the self-test is ${mean}, expected ${SELF_TEST_LOSS.toFixed(5)}; do not train on this device`,
    );
  const { parameters } = parameterTable(SELF_TEST_MODEL.variant, SELF_TEST_MODEL.classes);
  const wanted = selfTestDigests();
  let largest = 0;
  for (let row = 0; row < parameters.length; row++)
    largest = Math.max(largest, wanted[4 * row + 3]);
  parameters.forEach(({ name, offset, size }, row) => {
    const got = digestOf(gradient.subarray(offset, offset + size).map((g) => g / samples));
    const [l2, sum, probe, max] = wanted.subarray(4 * row, 4 * row + 4);
    const element = TOLERANCE.element * largest;
    const norm = TOLERANCE.norm * l2 + element;
    const bounds = { l2: norm, sum: norm * Math.sqrt(size), probe: norm, max: element };
    for (const [key, want] of Object.entries({ l2, sum, probe, max })) {
      const which = key as keyof typeof bounds;
      if (!(Math.abs(got[which] - want) <= bounds[which]))
        throw new SelfTestFailed(
          `${which} of the gradient of ${name} in the self-test is ${got[which]}, expected ${want} ± ${bounds[which].toPrecision(2)}; do not train on this device`,
        );
    }
  });
}

/** The direction of a gradient against the reference's, over all parameters. */
function checkCosine(got: NodeGradient, want: NodeGradient): void {
  const cosine = cosineOf(got.gradient, want.gradient);
  if (!(cosine >= TOLERANCE.cosine))
    throw new SelfTestFailed(
      `the gradient of the self-test has a cosine of ${cosine} with the processor's, expected ${TOLERANCE.cosine} or more; do not train on this device`,
    );
}

/** Cosine of the angle between two vectors, in float64. */
export function cosineOf(a: Float32Array, b: Float32Array): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return ab / Math.sqrt(aa * bb);
}
