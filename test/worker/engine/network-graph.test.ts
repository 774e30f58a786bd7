import { parameterTable } from "@swarmvit/shared/parameters";
import type { VariantName } from "@swarmvit/shared/variants";
import type { ModelConfig } from "@swarmvit/worker/engine/executor";
import { createGraphBuilder } from "@swarmvit/worker/engine/graph-builder";
import { engineShape, fromEngineLayout, toEngineLayout } from "@swarmvit/worker/engine/layout";
import { backbone, trainingGraph } from "@swarmvit/worker/engine/mobilevit";
import { operandsOf } from "@swarmvit/worker/engine/operands";
import { describe, expect, it } from "vitest";
import { sameBits } from "../../support/allclose.ts";

const config = (variant: VariantName): ModelConfig => ({
  variant,
  classes: 1000,
  dropout: 0.1,
  headDropout: 0.1,
  smoothing: 0.1,
});

describe.each(["xxs", "xs", "s"] as const)("the graph of %s", (variant) => {
  const { graph, pixels } = trainingGraph(config(variant), 72, 96, 2);
  const table = parameterTable(variant, 1000);

  it("uses every parameter of the table once, in its order and engine shape", () => {
    const used = graph.values.flatMap(({ role, shape }) =>
      role.kind === "parameter" ? [[role.name, shape]] : [],
    );
    expect(used).toEqual(table.parameters.map((spec) => [spec.name, engineShape(spec)]));
  });

  it("ends in one gradient a parameter, of its shape, and none of the pixels", () => {
    const shapes = new Map<string, readonly number[]>();
    for (const { id, role, shape } of graph.values)
      if (role.kind === "gradient" && graph.outputs.includes(id)) shapes.set(role.parameter, shape);
    expect([...shapes.keys()].sort()).toEqual(table.parameters.map(({ name }) => name).sort());
    for (const spec of table.parameters) expect(shapes.get(spec.name)).toEqual(engineShape(spec));
    const stem = graph.values.find(
      ({ role }) => role.kind === "parameter" && role.name === "stem.conv.weight",
    );
    for (const operation of graph.operations)
      if (operation.op === "convInputGrad") expect(operation.w).not.toBe(stem?.id);
    expect(graph.values[pixels].shape).toEqual([2, 72, 96, 3]);
  });

  it("writes each value once, before it is read", () => {
    const written = new Set<number>();
    for (const { id, role } of graph.values)
      if (["pixels", "labels", "parameter"].includes(role.kind)) written.add(id);
    for (const operation of graph.operations) {
      const { reads, writes } = operandsOf(operation);
      for (const id of reads) expect(written.has(id)).toBe(true);
      for (const id of writes) {
        expect(written.has(id)).toBe(false);
        written.add(id);
      }
    }
  });
});

describe("the backbone's output stride", () => {
  it.each([
    [32, 2, []],
    [16, 4, []],
    [8, 8, [2]],
  ] as const)("%i gives a map of %i at 64x64, dilations %j", (stride, extent, dilations) => {
    const g = createGraphBuilder(false);
    const { features } = backbone(g, g.pixels([1, 64, 64, 3]), "xxs", 0, stride);
    expect(g.shapeOf(features)).toEqual([1, extent, extent, 80]);
    const seen = g
      .finish()
      .operations.flatMap((o) => (o.op === "depthwise" && o.dilation > 1 ? [o.dilation] : []));
    expect(seen).toEqual(dilations);
  });
});

describe("graph errors", () => {
  it("refuses batch norm over a single position", () => {
    expect(() => trainingGraph(config("xxs"), 32, 32, 1)).toThrow(/2 samples or more/);
  });

  it("refuses a name that is used twice", () => {
    const g = createGraphBuilder(true);
    const x = g.input("x", [1, 4]);
    g.linear(x, "fc", 2, true);
    expect(() => g.linear(x, "fc", 2, true)).toThrow(/fc.weight is used twice/);
  });
});

describe("weight layouts", () => {
  it("come back as they were, with [O, I, y, x] at [y, x, I, O]", () => {
    const { parameters, parameterCount } = parameterTable("xxs", 10);
    const torch = Float32Array.from({ length: parameterCount }, (_, i) => i);
    const engine = toEngineLayout(parameters, torch);
    expect(sameBits(fromEngineLayout(parameters, engine), torch)).toBe(true);
    const dense = parameters.find(({ name }) => name === "stages.2.1.conv_fusion.conv.weight");
    const depthwise = parameters.find(({ name }) => name === "stages.1.0.conv2_kxk.conv.weight");
    if (!dense || !depthwise) throw new Error("the table lost its 3x3 convolutions");
    const [outputs, inputs] = dense.shape;
    // output 5, input 7, row 2, column 1
    expect(engine[dense.offset + ((2 * 3 + 1) * inputs + 7) * outputs + 5]).toBe(
      dense.offset + ((5 * inputs + 7) * 3 + 2) * 3 + 1,
    );
    // channel 4, row 0, column 2
    expect(engine[depthwise.offset + 2 * depthwise.shape[0] + 4]).toBe(
      depthwise.offset + 4 * 9 + 2,
    );
  });

  it("refuse a vector of another model", () => {
    const { parameters } = parameterTable("xxs", 10);
    expect(() => toEngineLayout(parameters, new Float32Array(5))).toThrow(/got 5/);
  });
});
