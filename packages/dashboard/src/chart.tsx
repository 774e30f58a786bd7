/** One uPlot chart: shared crosshair and zoom, colours of the theme, values where one points. */

import { signal, useSignalEffect } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { NOTHING } from "./format.ts";
import { type Column, latest } from "./series.ts";
import { colour, dark } from "./theme.ts";

/** The row under the pointer in all charts, or undefined. */
export const hoveredRow = signal<number | undefined>(undefined);
/** The part of the x axis shown in all charts, or undefined for all of it. */
export const zoom = signal<Range | undefined>(undefined);

interface Range {
  readonly min: number;
  readonly max: number;
}

/** Charts with this key share their crosshair. */
const SYNC_KEY = "run";
/** What one chart tells the others: pointing, but not dragging, which `zoom` passes on. */
const SHARED_EVENTS = new Set(["mousemove", "mouseleave", "mouseenter"]);

export const CHART_AXIS: uPlot.Axis = {
  stroke: () => colour("--muted"),
  grid: { stroke: () => colour("--grid"), width: 1 },
  ticks: { show: false },
  font: "11px system-ui, sans-serif",
  size: 28,
  space: 64,
};

/** Points and selects along x only; a double click shows everything again. */
export const CHART_CURSOR: uPlot.Cursor = {
  y: false,
  sync: { key: SYNC_KEY, filters: { pub: (type) => SHARED_EVENTS.has(type) } },
  drag: { x: true, y: false, setScale: false },
  points: { size: 7 },
  bind: {
    dblclick: () => () => {
      zoom.value = undefined;
      return null;
    },
  },
};

export interface Line {
  readonly label: string;
  /** Name of a colour token. */
  readonly token: string;
  readonly values: Column;
  /** `faint` is the raw line under a smoothed one; `points` joins few values with dots. */
  readonly style: "strong" | "faint" | "points";
}

export interface ChartProps {
  readonly title: string;
  readonly x: readonly number[];
  readonly lines: readonly Line[];
  readonly format: (value: number | null) => string;
  readonly formatX: (value: number) => string;
  /** Labels of the y axis, when the plain number will not do. */
  readonly formatTick?: (value: number) => string;
  readonly summary: string | undefined;
  readonly logarithmic?: boolean;
  /** Leave faint lines out of the y axis's range. */
  readonly ignoreOutliers?: boolean;
  readonly height?: number;
  readonly children?: ComponentChildren;
}

/** A titled chart with a legend of current values and a sentence that says what it shows. */
export function Chart(props: ChartProps) {
  const shown = props.lines.filter((line) => line.style !== "faint");
  return (
    <figure class="chart card">
      <figcaption>
        <h3>{props.title}</h3>
        <ul class="legend">
          {shown.map((line) => (
            <li key={line.label}>
              <span class={`key key-${line.style}`} style={{ color: `var(${line.token})` }} />
              {line.label} <LegendValue line={line} format={props.format} />
            </li>
          ))}
        </ul>
        {props.children}
      </figcaption>
      <Plot {...props} key={`${props.logarithmic}${props.ignoreOutliers}`} />
      <p class="summary">{props.summary ?? "no step yet"}</p>
    </figure>
  );
}

function LegendValue({ line, format }: { line: Line; format: ChartProps["format"] }) {
  const row = hoveredRow.value;
  const value =
    line.style === "points"
      ? latest(line.values, row)
      : (line.values[row ?? line.values.length - 1] ?? null);
  return <output class="num">{value === null ? NOTHING : format(value)}</output>;
}

/** uPlot hook: the row under the pointer becomes everybody's. */
export function watchCursor(chart: uPlot): void {
  hoveredRow.value = chart.cursor.idx ?? undefined;
}

/** uPlot hook: a dragged range becomes everybody's zoom; a click does not. */
export function selectZoom(chart: uPlot): void {
  const { left, width } = chart.select;
  if (width < 8) return;
  zoom.value = { min: chart.posToVal(left, "x"), max: chart.posToVal(left + width, "x") };
  chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
}

/** The canvas alone, resized with its box. */
function Plot(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const height = props.height ?? 220;
  const latestProps = useRef(props);
  latestProps.current = props;

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const chart = new uPlot(options(latestProps, element.clientWidth, height), [[]], element);
    plot.current = chart;
    show(chart, latestProps.current, zoom.peek());
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0 && element.clientWidth !== chart.width)
        chart.setSize({ width: element.clientWidth, height });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      chart.destroy();
      plot.current = undefined;
    };
  }, [height]);

  useEffect(() => {
    if (plot.current) show(plot.current, latestProps.current, zoom.peek());
  }, [props.x, props.lines]);

  useSignalEffect(() => {
    const range = zoom.value;
    if (plot.current) show(plot.current, latestProps.current, range);
  });
  useSignalEffect(() => {
    dark.value;
    plot.current?.redraw(false, true);
  });

  return (
    <div
      ref={box}
      class="plot"
      role="img"
      aria-label={`${props.title}: ${props.summary ?? "no step yet"}`}
      style={{ height: `${height}px` }}
    />
  );
}

function show(chart: uPlot, props: ChartProps, range: Range | undefined): void {
  const data = [props.x, ...props.lines.map((line) => line.values)] as uPlot.AlignedData;
  chart.batch(() => {
    chart.setData(data, range === undefined);
    if (range) chart.setScale("x", range);
  });
}

function options(
  props: { readonly current: ChartProps },
  width: number,
  height: number,
): uPlot.Options {
  const { lines, logarithmic, ignoreOutliers } = props.current;
  return {
    width,
    height,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    scales: {
      x: { time: false },
      y: logarithmic ? { distr: 3, range: logRange } : {},
    },
    axes: [
      {
        ...CHART_AXIS,
        values: (_, ticks) => ticks.map((tick) => props.current.formatX(tick)),
      },
      {
        ...CHART_AXIS,
        size: 52,
        space: 36,
        values: (_, ticks) =>
          ticks.map((tick) => (tick === null ? "" : (props.current.formatTick ?? tickLabel)(tick))),
      },
    ],
    series: [{}, ...lines.map((line) => seriesOptions(line, ignoreOutliers === true))],
    cursor: CHART_CURSOR,
    hooks: { setCursor: [watchCursor], setSelect: [selectZoom] },
  };
}

function seriesOptions(line: Line, ignoreOutliers: boolean): uPlot.Series {
  const faint = line.style === "faint";
  return {
    label: line.label,
    stroke: () => (faint ? fade(colour(line.token)) : colour(line.token)),
    width: faint ? 1 : 1.75,
    spanGaps: true,
    auto: !(faint && ignoreOutliers),
    points:
      line.style === "points"
        ? {
            show: true,
            size: 8,
            width: 1,
            stroke: () => colour("--surface"),
            fill: () => colour(line.token),
          }
        : { show: false },
  };
}

/** A tight range: whole powers of ten would leave half the chart empty. */
function logRange(_chart: uPlot, low: number | null, high: number | null): uPlot.Range.MinMax {
  return low === null || high === null || low <= 0 ? [0.1, 10] : [low / 1.1, high * 1.1];
}

function fade(rgb: string): string {
  return rgb.replace(/^rgb\((.*)\)$/, "rgba($1, 0.28)");
}

function tickLabel(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 0.01 || size >= 1e5)
    return value.toExponential(1).replace(".0e", "e").replace("e+", "e");
  return String(Number(value.toPrecision(size < 10 ? 3 : 5)));
}
