/** The bench's arithmetic: what an operation costs at least, ratios, and that its figures hang together. */

import type { VariantName } from "@swarmvit/shared/variants";
import { flopOf, workOf } from "@swarmvit/worker/bench/arithmetic";
import { profileTable } from "@swarmvit/worker/bench/profile";
import { profileWasm } from "@swarmvit/worker/bench/profile-wasm";
import { alignTable, rowsOf, tableOf } from "@swarmvit/worker/bench/row";
import { modelOf, NO_COUNTS, openRounds, type UnitSize } from "@swarmvit/worker/bench/unit";
import { evaluationGraph, trainingGraph } from "@swarmvit/worker/engine/mobilevit";
import { createWasmExecutor } from "@swarmvit/worker/engine/wasm/executor";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import { expect, it } from "vitest";
import { openJson } from "../support/fixtures.ts";
import { readGolden } from "../support/golden-files.ts";

interface Counts {
  readonly counts: Readonly<Record<VariantName, { readonly macs_256: { readonly total: number } }>>;
}

const UNIT: UnitSize = { variant: "xxs", height: 32, width: 48, batch: 2 };

it.each(["xxs", "xs", "s"] as const)(
  "counts the multiply-adds of %s as the oracle does",
  async (variant) => {
    const { counts } = await openJson<Counts>(readGolden, "misc.json");
    const { graph } = evaluationGraph(modelOf({ variant }), 256, 256, 1);
    let flop = 0;
    for (const operation of graph.operations) {
      const { op } = operation;
      if (["linear", "conv", "depthwise", "attention"].includes(op))
        flop += flopOf(graph, operation);
      if (op !== "attention") continue;
      const [sequences, n] = graph.values[operation.qkv].shape;
      flop -= 4 * sequences * operation.heads * n * n; // softmax, which the oracle leaves out
    }
    expect(flop / 2).toBe(counts[variant].macs_256.total);
  },
);

it("takes a unit's gradient for about twice its forward pass", () => {
  const { graph } = trainingGraph(modelOf(UNIT), 32, 48, 2);
  const work = workOf(graph);
  const flop = (kind: string) => [...work].find(([op]) => op === kind)?.[1].flop ?? 0;
  for (const kind of ["linear", "depthwise"])
    expect(flop(`${kind}InputGrad`) + flop(`${kind}WeightGrad`)).toBe(2 * flop(kind));
  // The stem's input has no gradient.
  const stem = graph.operations.find(({ op }) => op === "conv");
  if (!stem) throw new Error("XXS lost its stem");
  expect(flop("convInputGrad")).toBe(flop("conv") - flopOf(graph, stem));
});

it("compares with tfjs on the same device, and prints what it has", () => {
  const measured = (executor: string, times: number[], tfjs?: string) => ({
    ...{ executor, times, tfjs, adapter: "a processor", firstMs: 100, counts: NO_COUNTS },
  });
  const rows = rowsOf(UNIT, [
    measured("wasm", [12, 10, 11], "tfjs-wasm"),
    measured("tfjs-wasm", [40, 50]),
    measured("webgpu", [5], "tfjs-webgpu"),
  ]);
  expect(rows.map(({ ratioToTfjs }) => ratioToTfjs)).toEqual([4, null, null]);
  expect(rows[0]).toMatchObject({ ...UNIT, executor: "wasm", ms: 10, imagesPerSecond: 200 });
  const lines = alignTable(tableOf(rows)).split("\n");
  expect(lines).toHaveLength(4);
  expect(lines[1]).toMatch(/^wasm +xxs 32x48 b2 +200 +10\.0 .* 4\.00 +a processor$/);
});

it("measures a real executor, whole and operation by operation", async () => {
  const executor = await createWasmExecutor(modelOf(UNIT), { loadModule: loadModuleFromDisk });
  const rounds = await openRounds(executor, UNIT, performance.now());
  expect(await rounds.round()).toBeGreaterThan(0);
  expect(rounds.counts.arenaBytes).toBe(executor.plannedBytes(32, 48, 2));
  await rounds.close();
  const { limits, operations } = await profileWasm(UNIT, loadModuleFromDisk);
  expect(Math.min(limits.gflops, limits.gigabytesPerSecond)).toBeGreaterThan(0);
  const { graph } = trainingGraph(modelOf(UNIT), 32, 48, 2);
  expect(new Set(operations.map(({ operation }) => operation))).toEqual(
    new Set(graph.operations.map(({ op }) => op)),
  );
  expect(operations.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6);
  expect(operations.reduce((sum, { calls }) => sum + calls, 0)).toBe(graph.operations.length);
  expect(profileTable({ limits, operations })).toHaveLength(operations.length + 1);
});
