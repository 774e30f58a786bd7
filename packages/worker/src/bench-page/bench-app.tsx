/** The bench page: what to measure, the run, its table, and where the time goes. */

import { useSignal, useSignalEffect } from "@preact/signals";
import { VARIANTS, type VariantName } from "@swarmvit/shared/variants";
import { type Profile, profileTable } from "../bench/profile.ts";
import { tableOf } from "../bench/row.ts";
import {
  adapter,
  cancel,
  choose,
  executors,
  failures,
  needsHardware,
  profiles,
  progress,
  resultUrl,
  rows,
  run,
  running,
  unit,
} from "./bench-store.ts";

const SIZES: readonly number[] = [64, 128, 192, 256, 320];
const BATCHES: readonly number[] = [2, 8, 16, 32];

export function App() {
  return (
    <>
      <header class="top">
        <a class="brand" href="/">
          <span class="logo" aria-hidden="true">
            <i />
            <i />
            <i />
            <i />
          </span>
          swarmvit
        </a>
        <a href="/dashboard">Dashboard</a>
      </header>
      <main>
        <Settings />
        {failures.value.map((words) => (
          <p key={words} class="card problem" role="alert">
            {words}
          </p>
        ))}
        {rows.value.length > 0 && <Results />}
        {[...profiles.value].map(([name, profile]) => (
          <Operations key={name} name={name} profile={profile} />
        ))}
      </main>
      <footer>
        <p>
          The same as npm run bench -- engine, in this browser. Nothing is sent: the numbers stay on
          this page.
        </p>
      </footer>
    </>
  );
}

function Settings() {
  const { variant, height, batch } = unit.value;
  return (
    <section class="card" aria-labelledby="settings-title">
      <h1 id="settings-title">How fast is this device?</h1>
      <p class="explain">
        Measures the loss and all gradients of one piece of work, on each way to compute that this
        browser has{adapter.value && ` (GPU: ${adapter.value})`}. The best of several rounds counts.
      </p>
      <div class="choices">
        <Choice
          label="Model"
          value={variant}
          options={Object.keys(VARIANTS)}
          onPick={(name) => set({ variant: name as VariantName })}
        />
        <Choice
          label="Image size"
          value={String(height)}
          options={SIZES.map(String)}
          onPick={(size) => set({ height: Number(size), width: Number(size) })}
        />
        <Choice
          label="Images"
          value={String(batch)}
          options={BATCHES.map(String)}
          onPick={(count) => set({ batch: Number(count) })}
        />
      </div>
      <fieldset class="executors" disabled={running.value}>
        <legend>Executors</legend>
        {[...executors.value].map(([name, wanted]) => (
          <label key={name}>
            <input
              type="checkbox"
              checked={wanted}
              onChange={(event) => choose(name, event.currentTarget.checked)}
            />
            {name}
            {needsHardware(name) && !wanted && <small> very slow on a software GPU</small>}
          </label>
        ))}
      </fieldset>
      <Run />
    </section>
  );
}

function set(change: Partial<typeof unit.value>): void {
  unit.value = { ...unit.value, ...change };
}

function Choice({
  label,
  value,
  options,
  onPick,
}: {
  label: string;
  value: string;
  options: readonly string[];
  onPick: (option: string) => void;
}) {
  return (
    <label class="field">
      {label}
      <select
        value={value}
        disabled={running.value}
        onChange={(event) => onPick(event.currentTarget.value)}
      >
        {options.map((option) => (
          <option key={option} value={option}>
            {option}
          </option>
        ))}
      </select>
    </label>
  );
}

function Run() {
  const now = progress.value;
  const none = ![...executors.value.values()].includes(true);
  if (!now)
    return (
      <button type="button" class="primary" disabled={none} onClick={() => void run()}>
        {rows.value.length > 0 ? "Measure again" : "Measure"}
      </button>
    );
  return (
    <>
      <progress value={now.done} aria-label="Progress of the bench" />
      <p class="explain" role="status">
        {now.words}
      </p>
      <button type="button" onClick={cancel}>
        Cancel
      </button>
    </>
  );
}

function Results() {
  const url = useSignal("");
  useSignalEffect(() => {
    if (running.value) return;
    const made = resultUrl();
    url.value = made;
    return () => URL.revokeObjectURL(made);
  });
  return (
    <section class="card" aria-labelledby="results-title">
      <h2 id="results-title">Results</h2>
      <Table label="Results" table={tableOf(rows.value)} />
      {!running.value && (
        <a class="button" href={url.value} download="swarmvit-bench.json">
          Download as JSON
        </a>
      )}
    </section>
  );
}

function Operations({ name, profile }: { name: string; profile: Profile }) {
  const { gflops, gigabytesPerSecond } = profile.limits;
  return (
    <details class="card">
      <summary>Operations of {name}</summary>
      <p class="muted">
        Limits measured here: {gflops.toFixed(1)} GFLOP/s and {gigabytesPerSecond.toFixed(1)} GB/s.
        More than 100 % of the memory's means that caches served it.
      </p>
      <Table label={`Operations of ${name}`} table={profileTable(profile)} />
    </details>
  );
}

/** Wider than a phone: scrolls in itself, also by keyboard. */
function Table({ label, table }: { label: string; table: readonly (readonly string[])[] }) {
  const [titles, ...lines] = table;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section class="scroll" tabIndex={0} aria-label={label}>
      <table>
        <thead>
          <tr>
            {titles.map((title, i) => (
              <th key={i} scope="col">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {lines.map((cells) => (
            <tr key={cells[0]}>
              {cells.map((cell, i) => (
                <td key={i}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
