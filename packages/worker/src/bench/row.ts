/** One line of the bench's table, and the table as text. */

import type { UnitCounts, UnitSize } from "./unit.ts";

export interface Row extends UnitSize, UnitCounts {
  readonly executor: string;
  /** What computes, in words. */
  readonly adapter: string;
  /** Best unit after the first. */
  readonly ms: number;
  readonly imagesPerSecond: number;
  /** The first unit with all loading and compiling. */
  readonly firstMs: number;
  /** How many times faster than the `tfjs` executor on the same device in the same run; null without one. */
  readonly ratioToTfjs: number | null;
}

/** Who is measured, and how long its rounds took. */
export interface Measured {
  readonly executor: string;
  readonly adapter: string;
  readonly firstMs: number;
  readonly counts: UnitCounts;
  /** Milliseconds, in the order of the rounds; none if it was left out. */
  readonly times: readonly number[];
  /** The `tfjs` executor on the same device, by name. */
  readonly tfjs?: string;
}

/** The rows of one interleaved run at one size. */
export function rowsOf(unit: UnitSize, measured: readonly Measured[]): Row[] {
  const best = new Map(measured.map(({ executor, times }) => [executor, Math.min(...times)]));
  return measured.map(({ executor, adapter, firstMs, counts, times, tfjs }) => {
    const ms = Math.min(...times);
    const portable = tfjs === undefined ? undefined : best.get(tfjs);
    return {
      ...{ executor, adapter, ...unit, ms, imagesPerSecond: (1000 * unit.batch) / ms },
      ...{ ...counts, firstMs, ratioToTfjs: portable === undefined ? null : portable / ms },
    };
  });
}

const COLUMNS: readonly (readonly [title: string, cell: (row: Row) => string])[] = [
  ["executor", ({ executor }) => executor],
  ["unit", ({ variant, height, width, batch }) => `${variant} ${height}x${width} b${batch}`],
  ["images/s", ({ imagesPerSecond }) => fixed(imagesPerSecond)],
  ["ms", ({ ms }) => fixed(ms)],
  ["first ms", ({ firstMs }) => firstMs.toFixed(0)],
  ["dispatches", ({ dispatches }) => whole(dispatches)],
  ["submits", ({ submits }) => whole(submits)],
  ["pipelines", ({ pipelines }) => whole(pipelines)],
  ["MiB", ({ arenaBytes }) => (arenaBytes === null ? "–" : fixed(arenaBytes / 2 ** 20))],
  ["x tfjs", ({ ratioToTfjs }) => (ratioToTfjs === null ? "–" : ratioToTfjs.toFixed(2))],
  ["on", ({ adapter }) => adapter],
];

/** The table's titles and cells, for pages and terminals. */
export function tableOf(rows: readonly Row[]): string[][] {
  return [
    COLUMNS.map(([title]) => title),
    ...rows.map((row) => COLUMNS.map(([, cell]) => cell(row))),
  ];
}

/** A table in columns: the first and the last flush left, numbers flush right. */
export function alignTable(table: readonly (readonly string[])[]): string {
  const widths = table[0].map((_, i) => Math.max(...table.map((cells) => cells[i].length)));
  const last = widths.length - 1;
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (i < 2 || i === last ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join("  ")
      .trimEnd();
  return table.map(line).join("\n");
}

function fixed(x: number): string {
  return x.toFixed(x < 100 ? 1 : 0);
}

function whole(x: number | null): string {
  return x === null ? "–" : String(x);
}
