/** Where a unit's time goes, by kind of operation, held against what the device could do. */

import type { Graph, OperationKind } from "../engine/graph.ts";
import { type Work, workOf } from "./arithmetic.ts";
import type { Limits } from "./limits.ts";

export interface OperationTime extends Work {
  readonly operation: OperationKind;
  readonly ms: number;
  /** Of the time of all operations. */
  readonly share: number;
  /** Arithmetic a second, and its share of what the device does at most. */
  readonly gflops: number;
  readonly ofArithmetic: number;
  /** Least memory traffic a second; more than 1 of the limit means that caches served it. */
  readonly gigabytesPerSecond: number;
  readonly ofMemory: number;
}

export interface Profile {
  readonly limits: Limits;
  /** Longest first. */
  readonly operations: readonly OperationTime[];
}

/** Joins measured times with the graph's work. */
export function profileOf(
  graph: Graph,
  times: ReadonlyMap<OperationKind, number>,
  limits: Limits,
): Profile {
  const work = workOf(graph);
  const total = [...times.values()].reduce((sum, ms) => sum + ms, 0);
  const operations = [...times].map(([operation, ms]): OperationTime => {
    const { calls, flop, bytes } = work.get(operation) ?? { calls: 0, flop: 0, bytes: 0 };
    const gflops = flop / ms / 1e6;
    const gigabytesPerSecond = bytes / ms / 1e6;
    return {
      ...{ operation, calls, ms, share: ms / total, flop, bytes },
      ...{ gflops, ofArithmetic: gflops / limits.gflops },
      ...{ gigabytesPerSecond, ofMemory: gigabytesPerSecond / limits.gigabytesPerSecond },
    };
  });
  return { limits, operations: operations.sort((a, b) => b.ms - a.ms) };
}

/** A profile as a table of texts: titles, then one line an operation. */
export function profileTable({ operations }: Profile): string[][] {
  // Browsers blunt their clock: what took no time has no rate.
  const fixed = (x: number, digits: number) => (Number.isFinite(x) ? x.toFixed(digits) : "–");
  const percent = (x: number) => (Number.isFinite(x) ? `${fixed(100 * x, 0)} %` : "–");
  return [
    ["operation", "calls", "ms", "of unit", "GFLOP/s", "of limit", "GB/s", "of limit"],
    ...operations.map((o) => [
      ...[o.operation, String(o.calls), o.ms.toFixed(2), percent(o.share)],
      ...[fixed(o.gflops, 1), percent(o.ofArithmetic)],
      ...[fixed(o.gigabytesPerSecond, 1), percent(o.ofMemory)],
    ]),
  ];
}
