import { readFileSync } from "node:fs";
import { initialParameters, initialStatistics } from "@swarmvit/shared/init";
import { parameterTable } from "@swarmvit/shared/parameters";
import type { VariantName } from "@swarmvit/shared/variants";
import { describe, expect, test } from "vitest";

interface ManifestTensor {
  name: string;
  shape: number[];
  kind: string;
  param: boolean;
}

const COUNTS: [VariantName, number, number][] = [
  ["xxs", 1_272_024, 4_112],
  ["xs", 2_317_848, 8_448],
  ["s", 5_578_632, 12_256],
];

describe.each(COUNTS)("mobilevit_%s", (variant, parameterCount, statisticsCount) => {
  const table = parameterTable(variant, 1000);
  const manifest: ManifestTensor[] = JSON.parse(
    readFileSync(new URL(`../golden/manifest_${variant}.json`, import.meta.url), "utf8"),
  ).tensors;
  const flat = ({
    name,
    shape,
    kind,
  }: {
    name: string;
    shape: readonly number[];
    kind: string;
  }) => ({
    name,
    shape: [...shape],
    kind,
  });

  test("has exactly the published number of parameters", () => {
    expect(table.parameterCount).toBe(parameterCount);
    expect(table.statisticsCount).toBe(statisticsCount);
  });

  test("has timm's names, shapes and order", () => {
    expect(table.parameters.map(flat)).toEqual(manifest.filter((t) => t.param).map(flat));
    expect(table.statistics.map(flat)).toEqual(manifest.filter((t) => !t.param).map(flat));
  });

  test("places tensors without gap or overlap", () => {
    let offset = 0;
    for (const tensor of table.parameters) {
      expect(tensor.offset).toBe(offset);
      offset += tensor.size;
    }
    expect(offset).toBe(parameterCount);
  });
});

describe("initialisation", () => {
  const table = parameterTable("xxs", 10);
  const values = initialParameters(table, 42);
  const std = (name: string) => {
    const { offset, size } = table.parameters.find((t) => t.name === name)!;
    const part = values.subarray(offset, offset + size);
    return Math.sqrt(part.reduce((sum, v) => sum + v * v, 0) / size);
  };

  test("follows the paper: fan-out, not divided by groups, and 0.02 for linear layers", () => {
    const close = (name: string, expected: number) =>
      expect(Math.abs(std(name) / expected - 1), name).toBeLessThan(0.1);
    close("stages.2.1.conv_kxk.conv.weight", Math.sqrt(2 / (48 * 9)));
    close("stages.4.0.conv2_kxk.conv.weight", Math.sqrt(2 / (128 * 9))); // depthwise
    close("stages.3.1.transformer.0.attn.qkv.weight", 0.02);
    close("head.fc.weight", 0.02);
    expect(std("head.fc.bias")).toBe(0);
    expect(std("stem.bn.weight")).toBe(1);
  });

  test("is the seed's alone", () => {
    expect(initialParameters(table, 42)).toEqual(values);
    expect(initialParameters(table, 43)).not.toEqual(values);
  });

  test("starts statistics at mean 0, variance 1", () => {
    const statistics = initialStatistics(table);
    for (const { kind, offset, size } of table.statistics)
      expect(new Set(statistics.subarray(offset, offset + size))).toEqual(
        new Set([kind === "bn_var" ? 1 : 0]),
      );
  });
});

test("a class count that cannot be is refused", () => {
  expect(() => parameterTable("xxs", 1)).toThrow(/at least 2 \(got 1\)/);
});
