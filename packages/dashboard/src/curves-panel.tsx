/** Training curves: five charts over one x axis, with one crosshair, zoom and smoothing. */

import { useMemo } from "preact/hooks";
import { Chart, hoveredRow, zoom } from "./chart.tsx";
import { CurvesTable } from "./curves-table.tsx";
import {
  formatCount,
  formatPercent,
  formatRate,
  formatSpeed,
  formatTime,
  formatValue,
  plural,
} from "./format.ts";
import type { History } from "./history.ts";
import { axis, ignoreOutliers, logLoss, smoothing } from "./preferences.ts";
import { type Axis, type Curves, summarise } from "./series.ts";

const AXES: readonly { value: Axis; label: string }[] = [
  { value: "step", label: "Step" },
  { value: "epoch", label: "Epoch" },
  { value: "time", label: "Time" },
];

interface Props {
  readonly curves: Curves;
  readonly history: History;
  readonly formatX: (value: number) => string;
}

/** The section with its toolbar. */
export function CurvesPanel({ curves, history, formatX }: Props) {
  return (
    <section aria-labelledby="curves-title">
      <header class="section-head">
        <h2 id="curves-title">Training</h2>
        <Readout curves={curves} />
      </header>
      {curves.rows.length === 0 ? (
        <p class="card empty">
          The curves begin with the first step: loss, accuracy, throughput, learning rate and
          gradient norm.
        </p>
      ) : (
        <>
          <Toolbar />
          <Charts curves={curves} formatX={formatX} />
          <CurvesTable history={history} />
        </>
      )}
    </section>
  );
}

function Toolbar() {
  return (
    <div class="toolbar">
      <fieldset class="segmented">
        <legend>x axis</legend>
        {AXES.map(({ value, label }) => (
          <label key={value}>
            <input
              type="radio"
              name="axis"
              checked={axis.value === value}
              onChange={() => {
                zoom.value = undefined; // a range of steps means nothing in seconds
                axis.value = value;
              }}
            />
            <span>{label}</span>
          </label>
        ))}
      </fieldset>
      <label class="slider">
        <span>Smoothing</span>
        <input
          type="range"
          min="0"
          max="0.99"
          step="0.01"
          value={smoothing.value}
          onInput={(event) => {
            smoothing.value = Number(event.currentTarget.value);
          }}
        />
        <output class="num">{smoothing.value.toFixed(2)}</output>
      </label>
      <Check signal={logLoss} label="Log loss" />
      <Check signal={ignoreOutliers} label="Ignore outliers" />
      {zoom.value && (
        <button
          type="button"
          onClick={() => {
            zoom.value = undefined;
          }}
        >
          Show all
        </button>
      )}
      <span class="hint muted">drag in a chart to zoom, double-click to fit</span>
    </div>
  );
}

function Check({ signal, label }: { signal: typeof logLoss; label: string }) {
  return (
    <label class="check">
      <input
        type="checkbox"
        checked={signal.value}
        onChange={(event) => {
          signal.value = event.currentTarget.checked;
        }}
      />
      {label}
    </label>
  );
}

function Charts({ curves, formatX }: { curves: Curves; formatX: (value: number) => string }) {
  const lines = useMemo(() => chartLines(curves), [curves]);
  const shared = { x: curves.x, formatX };
  const summary = (values: Curves["loss"], format: (value: number) => string) =>
    summarise(values, curves.rows, format);
  return (
    <div class="charts">
      <Chart
        {...shared}
        title="Loss"
        lines={lines.loss}
        format={formatValue}
        logarithmic={logLoss.value}
        ignoreOutliers={ignoreOutliers.value}
        summary={summary(curves.lossSmooth, formatValue)}
      />
      <Chart
        {...shared}
        title="Accuracy, top-1"
        lines={lines.top1}
        format={formatPercent}
        formatTick={(value) => `${Math.round(100 * value)} %`}
        ignoreOutliers={ignoreOutliers.value}
        summary={summary(curves.top1Smooth, formatPercent)}
      />
      <Chart
        {...shared}
        title="Throughput, images/s"
        lines={lines.speed}
        format={formatSpeed}
        ignoreOutliers={ignoreOutliers.value}
        summary={summary(curves.speedSmooth, formatSpeed)}
        height={150}
      />
      <Chart
        {...shared}
        title="Learning rate"
        lines={lines.lr}
        format={formatRate}
        summary={summary(curves.lr, formatRate)}
        height={150}
      />
      <Chart
        {...shared}
        title="Gradient norm"
        lines={lines.gradNorm}
        format={formatValue}
        logarithmic
        ignoreOutliers={ignoreOutliers.value}
        summary={summary(curves.gradNormSmooth, formatValue)}
        height={150}
      />
    </div>
  );
}

function chartLines(curves: Curves) {
  const train = "--line-train";
  const raw = { label: "raw", token: train, style: "faint" } as const;
  const strong = { label: "train", token: train, style: "strong" } as const;
  const evaluation = { label: "eval", token: "--line-eval", style: "points" } as const;
  return {
    loss: [
      { ...raw, values: curves.loss },
      { ...strong, values: curves.lossSmooth },
      { ...evaluation, values: curves.lossEval },
    ],
    top1: [
      { ...raw, values: curves.top1 },
      { ...strong, values: curves.top1Smooth },
      {
        ...evaluation,
        label: "eval, raw weights",
        token: "--line-third",
        values: curves.top1EvalRaw,
      },
      { ...evaluation, label: "eval", values: curves.top1Eval },
    ],
    speed: [
      { ...raw, values: curves.speed },
      { ...strong, label: "all volunteers", values: curves.speedSmooth },
    ],
    lr: [{ ...strong, label: "rate", values: curves.lr }],
    gradNorm: [
      { ...raw, values: curves.gradNorm },
      { ...strong, label: "L2, before clipping", values: curves.gradNormSmooth },
    ],
  };
}

/** The step under the crosshair, or the last: what all charts' values belong to. */
function Readout({ curves }: { curves: Curves }) {
  const row = curves.rows[hoveredRow.value ?? curves.rows.length - 1];
  if (!row) return null;
  return (
    <p class="muted num">
      step <strong>{formatCount(row.step)}</strong> · epoch {Math.floor(row.epoch)} ·{" "}
      {formatTime(row.time)} · {plural(row.workers, "volunteer")} · {plural(row.samples, "image")}{" "}
      in {row.seconds.toFixed(1)} s
    </p>
  );
}
