import { score } from "@swarmvit/worker/engine/score";
import { describe, expect, it } from "vitest";

describe("score", () => {
  it("counts, and sums plain cross-entropy", () => {
    const logits = Float32Array.of(3, 0, 0, 0, 0, 0, /**/ 0, 1, 2, 3, 4, 5);
    const { samples, loss, top1, top5 } = score(logits, Int32Array.of(0, 0));
    expect([samples, top1, top5]).toEqual([2, 1, 1]);
    const first = Math.log(Math.exp(3) + 5) - 3;
    const second = Math.log([0, 1, 2, 3, 4, 5].reduce((sum, z) => sum + Math.exp(z), 0));
    expect(loss).toBeCloseTo(first + second, 12);
  });

  it("ranks the lower class first among equal logits", () => {
    const equal = new Float32Array(7);
    expect(score(equal, Int32Array.of(0))).toMatchObject({ top1: 1, top5: 1 });
    expect(score(equal, Int32Array.of(4))).toMatchObject({ top1: 0, top5: 1 });
    expect(score(equal, Int32Array.of(5))).toMatchObject({ top1: 0, top5: 0 });
  });

  it("survives large logits", () => {
    expect(score(Float32Array.of(1e30, -1e30), Int32Array.of(0)).loss).toBe(0);
  });

  it("refuses what cannot be scored", () => {
    expect(() => score(Float32Array.of(1, Number.NaN), Int32Array.of(0))).toThrow(/not finite/);
    expect(() => score(Float32Array.of(1, 2), Int32Array.of(2))).toThrow(/label 2/);
    expect(() => score(Float32Array.of(1, 2, 3), Int32Array.of(0, 0))).toThrow(/got 3 numbers/);
  });
});
