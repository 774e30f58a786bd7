import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, floatsOf } from "@swarmvit/shared/bytes";
import { type Codec, decodeGradient, encodeGradient } from "@swarmvit/shared/codec";
import { halfTable, toHalf } from "@swarmvit/shared/float16";
import { encodeFrame, type FrameId } from "@swarmvit/shared/frame";
import { initialParameters, initialStatistics } from "@swarmvit/shared/init";
import { type Int8Parts, int8Parts } from "@swarmvit/shared/int8";
import { nullGradients } from "@swarmvit/shared/null-gradients";
import { parameterTable } from "@swarmvit/shared/parameters";
import { afterEach, describe, expect, it } from "vitest";
import type { StepLog } from "../../packages/coordinator/src/core/messages.ts";
import type {
  Commitment,
  Unlogged,
  VectorSetup,
} from "../../packages/coordinator/src/vectors/vector-port.ts";
import {
  inlineVectors,
  threadVectors,
  type Vectors,
} from "../../packages/coordinator/src/vectors/vectors.ts";

const table = parameterTable("xxs", 2);
const directory = mkdtempSync(join(tmpdir(), "swarmvit-test-"));
const opened: Vectors[] = [];
const SETUP: VectorSetup = {
  variant: "xxs",
  classes: ["a", "b"],
  codec: "f32",
  recipe: "small",
  weightDecay: 0.01,
  checkpointDirectory: join(directory, "checkpoints"),
  logDirectory: join(directory, "wal"),
};
const start = async (open: (setup: VectorSetup) => Vectors, setup: Partial<VectorSetup> = {}) => {
  const vectors = open({ ...SETUP, ...setup });
  opened.push(vectors);
  await vectors.initialize(initialParameters(table, 3), initialStatistics(table));
  const first = await vectors.publish();
  return { vectors, first };
};
afterEach(async () => {
  for (const vectors of opened.splice(0)) await vectors.close();
  rmSync(directory, { recursive: true, force: true });
});

const idOf = (index: number, codec: Codec = "f32"): FrameId => ({
  run: "0123456789abcdef",
  kind: "gradient",
  codec,
  step: 0,
  level: 0,
  index,
  samples: 2,
  lease: index,
  token: "00112233445566778899aabbccddeeff",
});
const frame = (index: number, gradient: Float32Array, codec: Codec = "f32") =>
  encodeFrame(idOf(index, codec), table, {
    report: { loss: 1, top1: 0, top5: 2, computeMs: 1 },
    statistics: new Float32Array(table.statisticsCount).fill(2),
    gradient,
  });
const ramp = (scale: number) =>
  Float32Array.from({ length: table.parameterCount }, (_, i) => ((i % 1000) + 1) * scale);
const SIZES = [{ height: 64, width: 64 }];
const left = { level: 0, index: 0 };
const right = { level: 0, index: 1 };
const root = { level: 1, index: 0 };

const LOG: StepLog = {
  core: { schema: 1, step: 1, struck: [], evaluatedAt: 0, fence: 1 },
  record: {
    ...{ kind: "step", step: 1, epoch: 0, time: 0, loss: 1, top1: 0, lr: 0.01, samples: 4 },
    ...{ images_per_second: 1, seconds: 1, workers: 1, bytes_in: 0, bytes_out: 0 },
    ...{ resolutions: {}, weights: "" },
  },
  cursor: 4,
  leases: [],
};
const committed = (result: Commitment | Unlogged): Commitment => {
  if ("unlogged" in result) throw new Error(result.unlogged);
  return result;
};

/** Two units, summed and applied. */
const step = async (vectors: Vectors, gradients: readonly Float32Array[], codec?: Codec) => {
  for (const [i, gradient] of gradients.entries()) {
    const result = await vectors.verify(frame(i, gradient, codec), idOf(i, codec), SIZES);
    expect(result).toMatchObject({ ok: true });
  }
  await vectors.add(0, root, left, right);
  return committed(await vectors.commit(0, root, 4, 0.01, LOG, true));
};

describe("long vectors", () => {
  it("give the same bits inline and in the thread", async () => {
    const results = [];
    for (const open of [inlineVectors, threadVectors]) {
      const { vectors, first } = await start(open);
      const committed = await step(vectors, [ramp(1e-3), ramp(-2e-3)]);
      expect(committed.finite).toBe(true);
      expect(committed.gradNorm).toBeGreaterThan(0);
      expect(committed.weights.parameters).not.toBe(first.weights.parameters);
      results.push([first.weights, committed.weights, committed.gradNorm]);
    }
    expect(results[0]).toEqual(results[1]);
  });

  it("give the same bits in memory that was used before", async () => {
    const life = async (open: typeof inlineVectors, recycles: boolean) => {
      const { vectors } = await start(open, { codec: "int8" });
      const hashes = [];
      for (let i = 0; i < 6; i++) {
        const gradients = [ramp(1e-3 * (i + 1)), ramp(-2e-3)];
        const { weights, spent, vectors: published } = await step(vectors, gradients, "int8");
        hashes.push(weights);
        expect(spent.map(({ byteLength }) => byteLength)).toEqual(
          Array(2).fill(frame(0, gradients[0], "int8").byteLength),
        );
        if (recycles) for (const { bytes } of published) await vectors.recycle(bytes);
      }
      return hashes;
    };
    const fresh = await life(inlineVectors, false);
    expect(new Set(fresh.map(({ parameters }) => parameters)).size).toBe(6);
    expect(await life(inlineVectors, true)).toEqual(fresh);
    expect(await life(threadVectors, true)).toEqual(fresh);
  });

  it("publish the moving averages where they are evaluated", async () => {
    const { vectors, first } = await start(inlineVectors);
    expect(first.weights.emaParameters).toBe(first.weights.parameters);
    for (const [i, evaluated] of [false, true].entries()) {
      await vectors.verify(frame(i, ramp(1e-3)), idOf(i), SIZES);
      const done = committed(
        await vectors.commit(0, { level: 0, index: i }, 2, 0.01, LOG, evaluated),
      );
      const { emaParameters, emaStatistics } = done.weights;
      const hashes = done.vectors.map(({ sha256 }) => sha256);
      expect(hashes).toHaveLength(evaluated ? 4 : 2);
      if (evaluated) expect(hashes.slice(2)).toEqual([emaParameters, emaStatistics]);
      else expect([emaParameters, emaStatistics]).toEqual([undefined, undefined]);
    }
  });

  it("report a wrong call as its error and go on", async () => {
    const { vectors } = await start(threadVectors);
    await expect(vectors.commit(0, root, 4, 0.01, LOG, true)).rejects.toThrow(
      /node 1:0 of step 0 is not filled/,
    );
    expect((await step(vectors, [ramp(1), ramp(1)])).finite).toBe(true);
  });

  it("publish what half precision can say where gradients travel in it", async () => {
    const { vectors } = await start(inlineVectors, { codec: "f16" });
    const { vectors: published } = await step(vectors, [ramp(1e-3), ramp(1e-3)], "f16");
    const values = floatsOf(published[0].bytes);
    const halves = halfTable();
    expect(values.every((x) => halves[toHalf(x)] === x)).toBe(true);
  });

  it("go on from a checkpoint with the published weights apart from the optimizer's", async () => {
    const { vectors } = await start(inlineVectors, { codec: "int8" });
    const { weights } = await step(vectors, [ramp(1e-3), ramp(2e-3)], "int8");
    await vectors.checkpoint({ schema: 1, step: 1, struck: [], evaluatedAt: 0, weights, fence: 1 });
    const next = await step(vectors, [ramp(-1e-3), ramp(3e-3)], "int8");
    expect(next.encoded?.from).toBe(weights.parameters);
    const resumed = inlineVectors({ ...SETUP, codec: "int8" });
    opened.push(resumed);
    expect(await resumed.restore()).toBeDefined();
    expect((await resumed.publish()).weights).toEqual(weights);
    expect(await step(resumed, [ramp(-1e-3), ramp(3e-3)], "int8")).toMatchObject({
      weights: next.weights,
    });
  });

  it("change nothing when the sum overflows", async () => {
    const { vectors, first } = await start(inlineVectors);
    const huge = new Float32Array(table.parameterCount).fill(3e38);
    const committed = await step(vectors, [huge, huge]);
    expect(committed).toMatchObject({ finite: false, weights: first.weights });
  });

  it("clip the averaged gradient, and tell its norm before", async () => {
    const plain = await start(inlineVectors);
    const clipped = await start(inlineVectors, { clipGrad: 1e-9 });
    const a = await step(plain.vectors, [ramp(1), ramp(1)]);
    const b = await step(clipped.vectors, [ramp(1), ramp(1)]);
    expect(a.gradNorm).toBe(b.gradNorm);
    expect(a.weights.parameters).not.toBe(b.weights.parameters);
  });

  it("refuse an int8 gradient for what its parts say", async () => {
    const { vectors } = await start(inlineVectors, { codec: "int8" });
    const spoiled = async (spoil: (parts: Int8Parts) => void) => {
      const bytes = encodeGradient("int8", table, ramp(1e-3));
      spoil(int8Parts(table, bytes));
      const whole = frame(0, ramp(1e-3), "int8");
      whole.set(bytes, whole.byteLength - bytes.byteLength);
      new DataView(whole.buffer).setUint32(52, crc32(whole.subarray(80)), true);
      return vectors.verify(whole, idOf(0, "int8"), SIZES);
    };
    expect(await spoiled(() => {})).toMatchObject({ ok: true });
    const codes: [string, (parts: Int8Parts) => void][] = [
      ["NON_FINITE", ({ scales }) => scales.fill(Number.NaN, 100, 101)],
      ["NON_FINITE", ({ scales }) => scales.fill(1e37, 7, 8)],
      ["NON_FINITE", ({ scales }) => scales.fill(-1, 7, 8)],
      ["NON_FINITE", ({ exact }) => exact.fill(Number.POSITIVE_INFINITY, 3, 4)],
      ["ZERO", ({ codes: all, exact }) => [all.fill(0), exact.fill(0)]],
      ["ZERO", ({ scales, exact }) => [scales.fill(0), exact.fill(0)]],
      ["ZERO", ({ scales }) => scales.fill(0, 0, 2)], // the stem's 432 values
    ];
    for (const [code, spoil] of codes)
      expect(await spoiled(spoil)).toMatchObject({ ok: false, code });
  });

  it.each(["f16", "int8"] as const)(
    "sum %s contributions in tree order, as decoded",
    async (codec) => {
      const { vectors } = await start(inlineVectors, { codec });
      const exact = await start(inlineVectors);
      const gradients = [ramp(1e-3), ramp(-2e-3).reverse(), ramp(5e-4)];
      const sent = gradients.map((g) =>
        decodeGradient(codec, table, encodeGradient(codec, table, g)),
      );
      for (const [i, gradient] of gradients.entries()) {
        await vectors.verify(frame(i, gradient, codec), idOf(i, codec), SIZES);
        await exact.vectors.verify(frame(i, sent[i]), idOf(i), SIZES);
      }
      const top = { level: 2, index: 0 };
      const upper = { level: 1, index: 1 };
      const norms = [];
      for (const work of [vectors, exact.vectors]) {
        await work.add(0, root, left, right);
        await work.alias(0, upper, { level: 0, index: 2 });
        await work.add(0, top, root, upper);
        norms.push(committed(await work.commit(0, top, 6, 0.01, LOG, true)).gradNorm);
      }
      expect(norms[0]).toBe(norms[1]);
    },
  );

  it("take zeros only where the gradient is null at every unit's size", async () => {
    const { vectors } = await start(inlineVectors);
    const verify = (gradient: Float32Array, sizes: typeof SIZES) =>
      vectors.verify(frame(0, gradient), idOf(0), sizes);
    const small = { height: 64, width: 64 };
    const large = { height: 96, width: 96 };
    const gradient = ramp(1);
    const nulls = nullGradients("xxs", 64, 64);
    for (const { name, shape, offset, size } of table.parameters) {
      if (nulls.tensors.has(name)) gradient.fill(0, offset, offset + size);
      const rows = nulls.rows.get(name);
      const row = size / shape[0];
      if (rows) gradient.fill(0, offset + rows.first * row, offset + rows.end * row);
    }
    expect(await verify(gradient, [small, large])).toMatchObject({ ok: true });
    const spoil = (name: string, first: number, end: number) => {
      const spoiled = gradient.slice();
      const { offset, shape, size } = table.parameters.find((spec) => spec.name === name)!;
      const row = size / shape[0];
      return spoiled.fill(0, offset + first * row, offset + end * row);
    };
    // At 64x64 the last stage attends over one position, so only the values' rows must be there.
    const qkv = "stages.4.1.transformer.0.attn.qkv.weight";
    expect(await verify(spoil(qkv, 192, 288), [small])).toMatchObject({ ok: false, code: "ZERO" });
    expect(await verify(spoil("head.fc.bias", 0, 2), [small])).toMatchObject({
      ok: false,
      code: "ZERO",
      detail: expect.stringContaining("head.fc.bias"),
    });
  });
});
