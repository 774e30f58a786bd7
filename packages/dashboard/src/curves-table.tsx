/** The curves as numbers: a table for those who cannot see charts, and a file for everybody. */

import { useSignal } from "@preact/signals";
import {
  formatCount,
  formatPercent,
  formatRate,
  formatSpeed,
  formatTime,
  formatValue,
} from "./format.ts";
import type { History } from "./history.ts";
import { toCsv } from "./series.ts";

const ROWS = 50;

/** A closed table of the last steps; it is built only while open. */
export function CurvesTable({ history }: { history: History }) {
  const open = useSignal(false);
  return (
    <details
      class="card fold"
      onToggle={(event) => {
        open.value = event.currentTarget.open;
      }}
    >
      <summary>Numbers</summary>
      {open.value && <Table history={history} />}
      <button type="button" onClick={() => download(history)} disabled={history.steps.length === 0}>
        Download CSV
      </button>
    </details>
  );
}

function Table({ history }: { history: History }) {
  const evaluations = new Map(history.evals.map((evaluation) => [evaluation.step, evaluation]));
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <section class="scroll" aria-label={`The last ${ROWS} steps`} tabIndex={0}>
      <table class="rows">
        <thead>
          <tr>
            {["Step", "Time", "Loss", "Top-1", "Eval top-1", "Rate", "Norm", "Images/s"].map(
              (name) => (
                <th key={name} scope="col" class="num">
                  {name}
                </th>
              ),
            )}
          </tr>
        </thead>
        <tbody>
          {history.steps
            .slice(-ROWS)
            .reverse()
            .map((row) => (
              <tr key={row.step} class="num">
                <td>{formatCount(row.step)}</td>
                <td>{formatTime(row.time)}</td>
                <td>{formatValue(row.loss)}</td>
                <td>{formatPercent(row.top1)}</td>
                <td>{formatPercent(evaluations.get(row.step)?.top1)}</td>
                <td>{formatRate(row.lr)}</td>
                <td>{formatValue(row.grad_norm)}</td>
                <td>{formatSpeed(row.images_per_second)}</td>
              </tr>
            ))}
        </tbody>
      </table>
    </section>
  );
}

function download(history: History): void {
  const url = URL.createObjectURL(
    new Blob([toCsv(history.steps, history.evals)], { type: "text/csv" }),
  );
  const link = document.createElement("a");
  link.href = url;
  link.download = "curves.csv";
  link.click();
  URL.revokeObjectURL(url);
}
