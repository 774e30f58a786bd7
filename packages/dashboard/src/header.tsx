/** Top of the page: which run, in which phase, whether the page is live, and its main numbers. */

import type { Phase, RunState } from "@swarmvit/shared/run";
import type { ComponentChildren } from "preact";
import {
  formatCount,
  formatDuration,
  formatPercent,
  formatSpeed,
  formatValue,
  NOTHING,
} from "./format.ts";
import type { History } from "./history.ts";
import { type Theme, theme } from "./preferences.ts";
import type { Connection } from "./store.ts";

const PHASES: Readonly<Record<Phase, { label: string; tone: string; mark: string }>> = {
  waiting: { label: "Waiting", tone: "warn", mark: "◌" },
  training: { label: "Training", tone: "good", mark: "▶" },
  paused: { label: "Paused", tone: "warn", mark: "⏸" },
  evaluating: { label: "Evaluating", tone: "accent", mark: "◎" },
  diverged: { label: "Diverged", tone: "bad", mark: "⚠" },
  done: { label: "Finished", tone: "good", mark: "✓" },
};

const THEMES: Readonly<Record<Theme, { next: Theme; mark: string }>> = {
  system: { next: "light", mark: "◐" },
  light: { next: "dark", mark: "☀" },
  dark: { next: "system", mark: "☾" },
};

/** The document's title: state first, since tabs are narrow. */
export function pageTitle(state: RunState | undefined, connection: Connection): string {
  if (!state) return connection === "unreachable" ? "✕ No answer – swarmvit" : "swarmvit";
  if (connection === "lost") return `✕ Disconnected – ${state.name}`;
  const { label, mark } = PHASES[state.phase];
  const moving = state.phase === "training" || state.phase === "evaluating";
  const progress = moving
    ? `${Math.floor((100 * state.step) / Math.max(1, state.totalSteps))} % `
    : "";
  return `${mark} ${progress}${label} – ${state.name}`;
}

/** The bar that stays in view. */
export function Header({ state, connection }: { state: RunState; connection: Connection }) {
  const phase = PHASES[state.phase];
  return (
    <header class="top">
      <span class="logo" aria-hidden="true">
        <i />
        <i />
        <i />
        <i />
      </span>
      <h1>
        <span class="muted product">swarmvit</span> {state.name}
      </h1>
      <span class={`pill ${phase.tone}`} role="status">
        {phase.label}
      </span>
      <span class="model muted">
        {state.model} on {state.dataset.name}
      </span>
      <Live connection={connection} />
      <button
        type="button"
        class="icon"
        aria-label={`Colours: ${theme.value}. Switch to ${THEMES[theme.value].next}`}
        title={`Colours: ${theme.value}`}
        onClick={() => {
          theme.value = THEMES[theme.value].next;
        }}
      >
        {THEMES[theme.value].mark}
      </button>
    </header>
  );
}

function Live({ connection }: { connection: Connection }) {
  if (connection === "live")
    return (
      <span class="live good" role="status">
        live <span class="dot">●</span>
      </span>
    );
  return (
    <span class="live bad" role="status">
      {connection === "loading" ? "connecting…" : "disconnected, showing last state"}
    </span>
  );
}

/** The numbers that are read from across the room. */
export function Numbers({ state, history }: { state: RunState; history: History }) {
  const present = state.volunteers.filter((row) => row.connected).length;
  const computing = state.volunteers.filter((row) => row.state === "computing").length;
  const evaluation = state.evaluation;
  const done = state.phase === "done";
  const end = history.steps.at(-1)?.time;
  const elapsed = end && state.startedAt ? (end - state.startedAt) / 1000 : undefined;
  const share = state.totalSteps > 0 ? state.step / state.totalSteps : 0;
  return (
    <section class="numbers" aria-label="The run in numbers">
      <Tile label="Step" note={`of ${formatCount(state.totalSteps)}`} wide>
        {formatCount(state.step)}
        <progress aria-label="Steps done" max={1} value={share} />
      </Tile>
      <Tile label="Epoch" note={`of ${formatCount(state.epochs)}`}>
        {formatCount(Math.floor(state.epoch))}
      </Tile>
      <Tile
        label={done ? "Took" : "Time left"}
        note={elapsed === undefined || done ? "" : `${formatDuration(elapsed)} so far`}
      >
        <span class="small">{formatDuration(done ? elapsed : state.etaSeconds)}</span>
      </Tile>
      <Tile
        label="Loss"
        note={evaluation ? `eval ${formatValue(evaluation.loss)}` : "of the last step"}
      >
        {formatValue(state.loss)}
      </Tile>
      <Tile label="Top-1" note={topNote(state)}>
        {formatPercent(evaluation?.top1)}
      </Tile>
      <Tile label="Images/s" note={`of ${formatCount(state.dataset.train)} images`}>
        {formatSpeed(state.imagesPerSecond)}
      </Tile>
      <Tile label="Volunteers" note={`${formatCount(computing)} computing`}>
        {formatCount(present)}
      </Tile>
    </section>
  );
}

function topNote({ evaluation, best }: RunState): string {
  if (!evaluation) return "no evaluation yet";
  const top5 = `top-5 ${formatPercent(evaluation.top5)}`;
  return best && best.top1 > evaluation.top1 ? `best ${formatPercent(best.top1)}` : top5;
}

function Tile(props: { label: string; note: string; wide?: boolean; children: ComponentChildren }) {
  return (
    <div class={props.wide ? "tile wide-tile" : "tile"}>
      <span class="label">{props.label}</span>
      <span class="value num">{props.children ?? NOTHING}</span>
      <span class="note num">{props.note}</span>
    </div>
  );
}
