/** The sizes of every step as one stacked bar over the x axis, under the charts' own crosshair. */

import { useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { CHART_AXIS, CHART_CURSOR, selectZoom, watchCursor, zoom } from "./chart.tsx";
import { type Size, sizeColour, stripBars } from "./resolutions.ts";
import type { Curves } from "./series.ts";
import { dark } from "./theme.ts";

interface StripProps {
  readonly curves: Curves;
  readonly sizes: readonly Size[];
  readonly formatX: (value: number) => string;
  readonly summary: string;
}

const HEIGHT = 164;
/** Narrower bars than this (CSS pixels) are summed: a screen shows no more. */
const MIN_BAR = 2;
/** From this width on, bars are separated by a hairline. */
const GAP_FROM = 5;

/** The strip; it says in words what it shows. */
export function Strip(props: StripProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const current = useRef(props);
  current.current = props;

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const chart = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        padding: [8, 8, 0, 0],
        legend: { show: false },
        scales: { x: { time: false }, y: { range: [0, 1] } },
        axes: [
          {
            ...CHART_AXIS,
            grid: { show: false },
            values: (_, ticks) => ticks.map((tick) => current.current.formatX(tick)),
          },
          {
            ...CHART_AXIS,
            grid: { show: false },
            size: 52,
            splits: [0, 0.5, 1],
            values: (_, ticks) => ticks.map((tick) => `${100 * tick} %`),
          },
        ],
        series: [{}, { show: true, points: { show: false }, paths: () => null }],
        cursor: CHART_CURSOR,
        hooks: {
          setCursor: [watchCursor],
          setSelect: [selectZoom],
          drawClear: [(self) => paint(self, current.current)],
        },
      },
      [[], []],
      element,
    );
    plot.current = chart;
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0 && element.clientWidth !== chart.width)
        chart.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      chart.destroy();
    };
  }, []);

  const update = (range = zoom.peek()) => {
    const chart = plot.current;
    if (!chart) return;
    const { x } = current.current.curves;
    chart.batch(() => {
      chart.setData([[...x], x.map(() => 1)], range === undefined);
      if (range) chart.setScale("x", range);
      chart.redraw(false, true);
    });
  };
  useEffect(() => update(), [props.curves, props.sizes]);
  useSignalEffect(() => update(zoom.value));
  useSignalEffect(() => {
    dark.value;
    plot.current?.redraw(false, true);
  });

  return (
    <div
      ref={box}
      class="plot"
      role="img"
      aria-label={props.summary}
      style={{ height: `${HEIGHT}px` }}
    />
  );
}

/** Draws the bars in canvas pixels, clipped to the plotting area. */
function paint(chart: uPlot, { curves, sizes }: StripProps): void {
  const { left, top, width, height } = chart.bbox;
  const { ctx } = chart;
  const ratio = uPlot.pxRatio;
  const positions = curves.x.map((x) => chart.valToPos(x, "x", true));
  const colours = sizes.map((_, rank) => sizeColour(rank, sizes.length, dark.peek()));
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  for (const bar of stripBars(curves.rows, positions, sizes, MIN_BAR * ratio)) {
    if (bar.right < left || bar.left > left + width) continue;
    const gap = bar.right - bar.left >= GAP_FROM * ratio ? ratio : 0;
    const from = Math.round(bar.left);
    const wide = Math.max(1, Math.round(bar.right) - from - gap);
    let bottom = top + height;
    bar.shares.forEach((share, rank) => {
      ctx.fillStyle = colours[rank];
      ctx.fillRect(from, bottom - share * height, wide, share * height);
      bottom -= share * height;
    });
  }
  ctx.restore();
}
