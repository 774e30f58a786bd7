import { readFileSync } from "node:fs";
import type { TensorSpec } from "@swarmvit/shared/parameters";
import { decodeSafetensors, tensorFloats } from "@swarmvit/shared/safetensors";
import { describe, expect, it } from "vitest";
import {
  averageGradient,
  clipGradient,
  gradientNorm,
  updateStatistics,
} from "../../packages/coordinator/src/core/average.ts";
import { emaMomentum, stepEma } from "../../packages/coordinator/src/core/ema.ts";
import { ADAMW_DEFAULTS, biasCorrections } from "../../packages/coordinator/src/core/optimizer.ts";
import { vectorKernels } from "../../packages/coordinator/src/vectors/kernels.ts";

const golden = decodeSafetensors(readFileSync("test/golden/ops.safetensors")).tensors;
const values = (name: string) => tensorFloats(golden.get(name)!);
const join = (a: string, b: string) => Float32Array.from([...values(a), ...values(b)]);
const TENSORS: TensorSpec[] = [
  { name: "a", kind: "linear", shape: [2, 3], offset: 0, size: 6 },
  { name: "b", kind: "bias", shape: [4], offset: 6, size: 4 },
];

describe("AdamW and EMA against the reference", () => {
  it.each([
    ["decay_all", "all"],
    ["nodecay_1d", "matrices"],
  ] as const)("six steps, %s", (name, decayed) => {
    const weights = join("adamw.a0", "adamw.b0");
    const state = {
      weights,
      firstMoment: new Float32Array(10),
      secondMoment: new Float32Array(10),
    };
    const ema = weights.slice();
    const config = { ...ADAMW_DEFAULTS, weightDecay: 0.01, decayed };
    for (let t = 1; t <= 6; t++) {
      const gradient = join(`adamw.ga${t - 1}`, `adamw.gb${t - 1}`);
      const step = { lr: 2e-3, ...biasCorrections(config, t) };
      vectorKernels().stepAdamW(state, gradient, TENSORS, config, step);
      stepEma(ema, weights, 0.1);
      expectClose(weights, join(`adamw.${name}.a${t}`, `adamw.${name}.b${t}`));
    }
    expectClose(ema, join(`adamw.${name}.ema0.1.a6`, `adamw.${name}.ema0.1.b6`));
  });

  it("warms the momentum up, but not in the paper's recipe", () => {
    expect(emaMomentum(1, "small")).toBe(9 / 11);
    expect(emaMomentum(17_990, "small")).toBe(5e-4);
    expect(emaMomentum(1e6, "small")).toBe(5e-4);
    expect(emaMomentum(1, "paper")).toBe(5e-4);
  });
});

describe("averaging", () => {
  it("divides the sum by the samples and clips by the norm", () => {
    const gradient = Float32Array.of(30, 40);
    averageGradient(gradient, 10);
    expect([...gradient]).toEqual([3, 4]);
    expect(gradientNorm(gradient)).toBe(5);
    clipGradient(gradient, 5, 5);
    expect([...gradient]).toEqual([3, 4]);
    clipGradient(gradient, 5, 1);
    expect([...gradient]).toEqual([Math.fround(0.6), Math.fround(0.8)]);
  });

  it("takes norms that a float32 sum of squares cannot hold", () => {
    expect(gradientNorm(Float32Array.of(3e30, 4e30)) / 5e30).toBeCloseTo(1, 6);
    expect(gradientNorm(Float32Array.of(1, Number.NaN))).toBeNaN();
  });

  it("moves running statistics by a tenth of the units' mean weighted by samples", () => {
    const running = Float32Array.of(1, 10);
    updateStatistics(running, Float32Array.of(2 * 4 + 3 * 6, 0), 10);
    expectClose(running, Float32Array.of(0.9 + 0.26, 9));
  });
});

function expectClose(actual: Float32Array, expected: Float32Array): void {
  expect(actual.length).toBe(expected.length);
  actual.forEach((x, i) => {
    expect(Math.abs(x - expected[i])).toBeLessThanOrEqual(
      2e-7 * Math.max(1, Math.abs(expected[i])),
    );
  });
}
