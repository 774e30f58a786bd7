/** Resolutions in use: what multi-scale training did, step by step and in sum. */

import type { RunState } from "@swarmvit/shared/run";
import { useMemo } from "preact/hooks";
import { hoveredRow, zoom } from "./chart.tsx";
import { formatCount, formatPercent, formatSpeed, plural } from "./format.ts";
import {
  histogram,
  meanSide,
  type SizeShare,
  sizeColour,
  sizeName,
  unitBatches,
} from "./resolutions.ts";
import type { Curves } from "./series.ts";
import { Strip } from "./strip.tsx";
import { dark } from "./theme.ts";

interface Props {
  readonly curves: Curves;
  readonly config: RunState["config"];
  readonly formatX: (value: number) => string;
}

/** The section: strip, then one bar a size with how many images a unit of it holds. */
export function ResolutionsPanel({ curves, config, formatX }: Props) {
  const all = useMemo(() => histogram(curves.rows), [curves.rows]);
  const batches = useMemo(() => unitBatches(config), [config]);
  const sizes = useMemo(() => all.map((bar) => bar.size), [all.map((bar) => bar.size.key).join()]);
  const shown = inZoom(curves, all);
  const mean = meanSide(shown.bars);
  const summary = describe(shown.bars, shown.steps);
  return (
    <section class="resolutions" aria-labelledby="resolutions-title">
      <header class="section-head">
        <h2 id="resolutions-title">Resolutions in use</h2>
        {mean !== undefined && (
          <p class="muted">
            mean side <strong class="num">{Math.round(mean)} px</strong> over{" "}
            {plural(shown.steps, "step")} {zoom.value ? "in view" : "shown"}
          </p>
        )}
      </header>
      {sizes.length === 0 ? (
        <p class="card empty">
          The first step will show here which image sizes its units were drawn at.
        </p>
      ) : (
        <div class="card split">
          <figure class="strip">
            <figcaption>
              <h3>Units of each step, by image size</h3>
              <StepReadout curves={curves} />
            </figcaption>
            <Strip {...{ curves, sizes, formatX, summary }} />
          </figure>
          <div>
            <h3>Units by size</h3>
            <table class="histogram">
              <thead class="visually-hidden">
                <tr>
                  <th scope="col">Size</th>
                  <th scope="col">Share of units</th>
                  <th scope="col">Units</th>
                  <th scope="col">Images a unit</th>
                </tr>
              </thead>
              <tbody>
                {shown.bars.map((bar, rank) => (
                  <SizeRow
                    key={bar.size.key}
                    bar={bar}
                    colour={sizeColour(rank, sizes.length, dark.value)}
                    side={(22 * bar.size.height) / all[all.length - 1].size.height}
                    widest={Math.max(...shown.bars.map((other) => other.share))}
                    batch={batches.get(bar.size.key)}
                  />
                ))}
              </tbody>
            </table>
            <p class="summary">
              Small images come in large units, so that a unit costs about the same at every size.
            </p>
          </div>
        </div>
      )}
    </section>
  );
}

function SizeRow(props: {
  bar: SizeShare;
  colour: string;
  side: number;
  widest: number;
  batch: number | undefined;
}) {
  const { bar, colour, side, widest, batch } = props;
  return (
    <tr>
      <th scope="row">
        <span class="size-box">
          <span style={{ width: `${side}px`, height: `${side}px`, background: colour }} />
        </span>
        {sizeName(bar.size)}
      </th>
      <td class="bar-cell">
        <span
          class="bar"
          style={{ width: `${widest > 0 ? (100 * bar.share) / widest : 0}%`, background: colour }}
        />
        <span class="num">{formatPercent(bar.share)}</span>
      </td>
      <td class="num">{formatCount(bar.units)}</td>
      <td class="num muted">{batch === undefined ? "" : `× ${plural(batch, "image")}`}</td>
    </tr>
  );
}

/** The step under the crosshair, or the last one. */
function StepReadout({ curves }: { curves: Curves }) {
  const row = curves.rows[hoveredRow.value ?? curves.rows.length - 1];
  if (!row) return null;
  const sizes = histogram([row]);
  return (
    <p class="muted num">
      step {formatCount(row.step)}:{" "}
      {sizes.map((bar) => `${bar.units} × ${sizeName(bar.size)}`).join(" · ")} ·{" "}
      {formatSpeed(row.images_per_second)} images/s
    </p>
  );
}

/** The histogram of the steps in view, with the same sizes in the same order as the whole. */
function inZoom(
  curves: Curves,
  all: readonly SizeShare[],
): { bars: readonly SizeShare[]; steps: number } {
  const range = zoom.value;
  if (!range) return { bars: all, steps: curves.rows.length };
  const rows = curves.rows.filter((_, i) => curves.x[i] >= range.min && curves.x[i] <= range.max);
  const part = new Map(histogram(rows).map((bar) => [bar.size.key, bar]));
  const bars = all.map(({ size }) => part.get(size.key) ?? { size, units: 0, share: 0 });
  return { bars, steps: rows.length };
}

function describe(bars: readonly SizeShare[], steps: number): string {
  const parts = bars.map((bar) => `${sizeName(bar.size)} ${formatPercent(bar.share, 0)}`);
  return `Units by image size over ${plural(steps, "step")}: ${parts.join(", ")}`;
}
