/** The terminal's view of a run: one live line on a TTY, a plain line now and then elsewhere. */

import type { EvalRecord, RunState, StepRecord } from "@swarmvit/shared/run";

/** "1:02:03" or "2:03". */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** One line of at most `columns` characters for the state of a run. */
export function renderStatus(state: RunState, columns: number): string {
  const { phase, reason, step, totalSteps, epoch, epochs } = state;
  const parts: string[] = [];
  if (phase === "training" || phase === "evaluating") {
    parts.push(`epoch ${Math.min(epoch + 1, epochs)}/${epochs}`);
    parts.push(`${bar(step / Math.max(1, totalSteps), 12)} ${step}/${totalSteps}`);
  } else parts.push(reason ? `${phase}: ${reason}` : phase);
  if (phase === "evaluating" && state.open)
    parts.push(`evaluating ${state.open.done}/${state.open.units}`);
  if (state.loss !== undefined) parts.push(`loss ${state.loss.toFixed(3)}`);
  if (state.evaluation) parts.push(`top-1 ${percent(state.evaluation.top1)}`);
  const present = state.volunteers.filter(({ connected }) => connected).length;
  parts.push(`${present} volunteer${present === 1 ? "" : "s"}`);
  if (state.imagesPerSecond > 0) parts.push(`${state.imagesPerSecond.toFixed(0)} img/s`);
  if (state.etaSeconds !== undefined) parts.push(`ETA ${formatDuration(state.etaSeconds)}`);
  const line = parts.join("  ");
  return line.length > columns ? `${line.slice(0, Math.max(0, columns - 1))}…` : line;
}

export function renderStep(record: StepRecord, totalSteps: number): string {
  const sizes = Object.entries(record.resolutions)
    .map(([size, units]) => `${units}·${size.split("x")[0]}px`)
    .join(" ");
  return [
    `step ${String(record.step).padStart(String(totalSteps).length)}/${totalSteps}`,
    `loss ${record.loss.toFixed(4)}`,
    `lr ${record.lr.toPrecision(3)}`,
    `|g| ${record.grad_norm.toPrecision(3)}`,
    `${record.images_per_second.toFixed(0)} img/s`,
    `${record.workers} volunteer${record.workers === 1 ? "" : "s"}`,
    sizes,
  ].join("  ");
}

export function renderEvaluation(record: EvalRecord): string {
  return `evaluation at step ${record.step}: top-1 ${percent(record.top1)} (raw ${percent(record.top1_raw)})  top-5 ${percent(record.top5)}  loss ${record.loss.toFixed(4)}  on ${record.samples} images`;
}

function bar(share: number, width: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return `▕${"█".repeat(full)}${"·".repeat(width - full)}▏`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
