/** Before the start: what is trained here, what the device will do, and the one big button. */

import { useSignal } from "@preact/signals";
import type { RunState } from "@swarmvit/shared/run";
import { autostart, name, notice, run, setName, start } from "./join-store.ts";
import { formatCount } from "./numbers.ts";

export function Welcome() {
  const state = run.value;
  const pressed = useSignal(autostart);
  const over = state?.phase === "done";
  return (
    <section class="card hero" aria-labelledby="hero-title">
      <h1 id="hero-title">Train an image model together</h1>
      {state ? (
        <p>
          <strong>{state.name}</strong> teaches a {state.model} ({formatCount(state.parameters)}{" "}
          numbers) to tell {state.dataset.classes.length} kinds of images apart, from{" "}
          {formatCount(state.dataset.train)} examples of {state.dataset.name}. Each device that
          joins makes it faster.
        </p>
      ) : (
        <p>Each device that joins makes the training faster.</p>
      )}
      {over ? (
        <p role="status">This run is finished: there is nothing left to compute.</p>
      ) : (
        <>
          <label class="field">
            Your name here
            <input
              type="text"
              maxLength={40}
              autocomplete="nickname"
              value={name.value}
              onInput={(event) => setName(event.currentTarget.value)}
            />
          </label>
          <button
            type="button"
            class="primary big"
            disabled={pressed.value}
            onClick={() => {
              pressed.value = true;
              start();
            }}
          >
            {pressed.value ? "Starting…" : "Start contributing"}
          </button>
          <ul class="consent">
            <li>
              Uses this device's {notice.value ? "processor" : "GPU"}: it gets warm, and a battery
              drains faster.
            </li>
            <li>{state ? trafficOf(state) : "Sends and receives much data."} Prefer Wi-Fi.</li>
            <li>Pause or leave at any time; closing the tab is enough.</li>
          </ul>
        </>
      )}
    </section>
  );
}

/** What a piece of work costs in data, by the model's size: people pay for it. */
function trafficOf({ parameters, config }: RunState): string {
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  const up = parameters * (config.codec === "f16" ? 2 : 4);
  return `Sends ${megabytes(up)} MB with each piece of work and receives ${megabytes(4 * parameters)} MB with each step: at several pieces a second, more than a film.`;
}
