import { nullGradients } from "@swarmvit/shared/null-gradients";
import { parameterTable } from "@swarmvit/shared/parameters";
import type { VariantName } from "@swarmvit/shared/variants";
import { checkUnit, UnsafeNumbersError } from "@swarmvit/worker/engine/safe-numbers";
import { describe, expect, it } from "vitest";
import { openJson } from "../../support/fixtures.ts";
import { readGolden } from "../../support/golden-files.ts";

interface Misc {
  null_gradients: Record<string, { tensors: string[]; qkv_row_blocks: Record<string, "k" | "qk"> }>;
}

const { null_gradients } = await openJson<Misc>(readGolden, "misc.json");

describe.each(Object.entries(null_gradients))("null gradients of %s", (key, golden) => {
  const [variant, shape] = key.split("_");
  const [, , height, width] = shape.split("x").map(Number);
  const found = nullGradients(variant as VariantName, height, width);

  it("are the oracle's tensors", () => {
    expect([...found.tensors].sort()).toEqual(golden.tensors.toSorted());
  });

  it("are the oracle's rows", () => {
    const { parameters } = parameterTable(variant as VariantName, 1000);
    const rows = Object.fromEntries(
      [...found.rows].map(([name, { first, end }]) => {
        const d = (parameters.find((spec) => spec.name === name)?.shape[0] ?? 0) / 3;
        expect(end).toBe(2 * d);
        return [name, first === 0 ? "qk" : first === d ? "k" : `row ${first}`];
      }),
    );
    expect(rows).toEqual(golden.qkv_row_blocks);
  });
});

describe("the check of a unit", () => {
  const table = parameterTable("xxs", 10);
  const gradient = () => new Float32Array(table.parameterCount).fill(1e-3);
  const spec = (name: string) => {
    const found = table.parameters.find((tensor) => tensor.name === name);
    if (!found) throw new Error(`no tensor ${name}`);
    return found;
  };
  const zeroed = (name: string) => {
    const { offset, size } = spec(name);
    return gradient().fill(0, offset, offset + size);
  };
  const reasonOf = (loss: number, g: Float32Array) => {
    try {
      checkUnit(table, 64, 64, loss, g);
    } catch (error) {
      return error instanceof UnsafeNumbersError ? error.reason : error;
    }
    return "passed";
  };

  it("passes finite numbers, and zeros where the gradient is null", () => {
    expect(reasonOf(2, gradient())).toBe("passed");
    expect(reasonOf(2, zeroed("stages.2.1.norm.bias"))).toBe("passed");
  });

  it("refuses a loss or a gradient that is not finite", () => {
    expect(reasonOf(Number.NaN, gradient())).toBe("nonfinite");
    const g = gradient();
    g[g.length - 1] = Number.POSITIVE_INFINITY;
    expect(reasonOf(2, g)).toBe("nonfinite");
  });

  it("refuses a tensor of zeros that should not be", () => {
    expect(reasonOf(2, zeroed("stem.conv.weight"))).toBe("zero");
    expect(reasonOf(2, new Float32Array(table.parameterCount))).toBe("zero");
  });
});
