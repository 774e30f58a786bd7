import { parameterTable } from "@swarmvit/shared/parameters";
import type { ModelConfig } from "@swarmvit/worker/engine/executor";
import type { Graph, Operation, Value } from "@swarmvit/worker/engine/graph";
import { evaluationGraph, trainingGraph } from "@swarmvit/worker/engine/mobilevit";
import { operandsOf } from "@swarmvit/worker/engine/operands";
import {
  lifetimesOf,
  liveBytes,
  type Plan,
  plan,
  releasedAfter,
} from "@swarmvit/worker/engine/plan";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const XXS: ModelConfig = {
  variant: "xxs",
  classes: 10,
  dropout: 0.05,
  headDropout: 0.1,
  smoothing: 0.1,
};

/** Pairs of values that are alive at one time and share a byte. */
function overlaps({ places, lifetimes }: Plan): string[] {
  const found: string[] = [];
  places.forEach((a, i) => {
    places.slice(0, i).forEach((b, j) => {
      if (!a || !b || a.buffer !== b.buffer) return;
      const apart = a.offset >= b.offset + b.bytes || b.offset >= a.offset + a.bytes;
      const [p, q] = [lifetimes[i], lifetimes[j]];
      if (!apart && p.first <= q.last && q.first <= p.last) found.push(`${i} and ${j}`);
    });
  });
  return found;
}

/** Operations that read and write one buffer. */
function conflicts({ graph, places }: Plan): string[] {
  return graph.operations.flatMap((operation, index) => {
    const { reads, writes } = operandsOf(operation);
    const read = new Set(reads.flatMap((id) => places[id]?.buffer ?? []));
    return writes.some((id) => read.has(places[id]?.buffer as number))
      ? [`${index} ${operation.op}`]
      : [];
  });
}

/** A random graph of additions: each operation adds two values that exist by then. */
const graphs = fc
  .array(fc.tuple(fc.nat(), fc.nat(), fc.integer({ min: 1, max: 300 })), {
    minLength: 1,
    maxLength: 60,
  })
  .map((steps): Graph => {
    const values: Value[] = [{ id: 0, shape: [7], role: { kind: "input", name: "x" } }];
    const operations: Operation[] = steps.map(([a, b, size]) => {
      const y = values.length;
      const operation: Operation = { op: "add", a: a % y, b: b % y, y };
      values.push({ id: y, shape: [size], role: { kind: "activation" } });
      return operation;
    });
    return { values, operations, outputs: [values.length - 1] };
  });

describe("the plan of a graph", () => {
  it("never lets two values that are alive at once share a byte", () => {
    fc.assert(
      fc.property(graphs, fc.integer({ min: 1, max: 3 }), (graph, buffers) => {
        const planned = plan(graph, { buffers });
        expect(overlaps(planned)).toEqual([]);
        if (buffers > 1) expect(conflicts(planned)).toEqual([]);
        for (const place of planned.places) expect((place?.offset ?? 0) % 256).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it.each([
    [64, 64, 4, 1, false],
    [72, 80, 3, 1, true],
    [72, 80, 3, 2, true],
    [96, 48, 2, 3, false],
  ])("is sound for XXS at %ix%i, batch %i, %i buffers, apart %s", (h, w, b, buffers, apart) => {
    const planned = plan(trainingGraph(XXS, h, w, b).graph, { buffers, apart });
    expect(overlaps(planned)).toEqual([]);
    if (buffers > 1) expect(conflicts(planned)).toEqual([]);
    const ends = planned.buffers.map(() => 0);
    for (const place of planned.places)
      if (place) ends[place.buffer] = Math.max(ends[place.buffer], place.offset + place.bytes);
    ends.forEach((end, i) => {
      expect(planned.buffers[i].bytes).toBeGreaterThanOrEqual(end);
    });
  });

  it("needs little more than what is alive at once", () => {
    const { graph } = trainingGraph(XXS, 64, 64, 16);
    expect(plan(graph).arenaBytes).toBeLessThan(1.05 * liveBytes(graph));
    const evaluated = evaluationGraph(XXS, 64, 64, 16).graph;
    expect(plan(evaluated).arenaBytes).toBeLessThan(0.4 * plan(graph).arenaBytes);
  });

  it("lays gradients and statistics apart in the order of the parameter table", () => {
    const { graph } = trainingGraph(XXS, 64, 64, 4);
    const { places, buffers } = plan(graph, { apart: true, alignment: 4 });
    const table = parameterTable("xxs", 10);
    const offsets = new Map<string, number>();
    for (const { id, role } of graph.values) {
      if (role.kind === "gradient") offsets.set(role.parameter, places[id]?.offset ?? -1);
      if (role.kind === "statistic")
        offsets.set(`${role.name}.${role.which}`, places[id]?.offset ?? -1);
    }
    for (const { name, offset } of table.parameters) expect(offsets.get(name)).toBe(4 * offset);
    for (const { name, offset } of table.statistics)
      expect(
        offsets.get(name.replace("running_mean", "mean").replace("running_var", "variance")),
      ).toBe(4 * offset);
    expect(buffers.map(({ kind }) => kind)).toEqual(["arena", "gradient", "statistic"]);
    expect(buffers[1].bytes).toBe(4 * table.parameterCount);
  });

  it("lets go of every value once, after its last use, and of no output", () => {
    const { graph } = trainingGraph(XXS, 72, 72, 2);
    const lifetimes = lifetimesOf(graph);
    const released = releasedAfter(graph).flatMap((ids, index) => ids.map((id) => ({ id, index })));
    expect(new Set(released.map(({ id }) => id)).size).toBe(released.length);
    const kept = new Set(graph.outputs);
    for (const { id, index } of released) {
      expect(kept.has(id)).toBe(false);
      expect(lifetimes[id].last).toBe(index);
    }
    graph.operations.forEach((operation, index) => {
      for (const id of operandsOf(operation).reads)
        expect(lifetimes[id].last).toBeGreaterThanOrEqual(index);
    });
  });
});
