/** While taking part: the state in one word, the few numbers that matter, and the controls. */

import type { VolunteerState } from "../client/volunteer-state.ts";
import { leave, pause, resume, setThrottle, start, throttle, word } from "./join-store.ts";
import { formatSpeed } from "./numbers.ts";

const TONE: Readonly<Record<string, string>> = {
  Computing: "good",
  Sending: "good",
  Problem: "bad",
  Connecting: "warn",
  "Paused by the host": "warn",
};

const AT_WORK: readonly string[] = [
  "Computing",
  "Sending",
  "Downloading model",
  "Waiting for others",
];

export function Work({ state }: { state: VolunteerState }) {
  const now = word.value ?? "Connecting";
  return (
    <section class="card work" aria-labelledby="work-title">
      <h1 id="work-title" class={`state ${TONE[now] ?? ""}`}>
        <span class="dot" aria-hidden="true" />
        {now}
      </h1>
      {/* Read aloud when it changes: not for each of many pieces a minute. */}
      <p class="visually-hidden" role="status">
        {AT_WORK.includes(now) ? "Taking part" : now}
      </p>
      <p class="explain">{explanation(state, now)}</p>
      {!state.ended && <Facts state={state} />}
      <Controls state={state} />
      {!state.ended && <Throttle />}
    </section>
  );
}

function explanation(state: VolunteerState, now: string): string {
  switch (now) {
    case "Connecting":
      return state.identity
        ? "The link to the coordinator is lost. It is tried again by itself; finished work is kept."
        : "Preparing this device and asking to join.";
    case "Downloading model":
      return "Fetching weights and images; the first time takes longest.";
    case "Waiting for others":
      return state.message ?? state.status?.reason ?? "All work of this step is given out.";
    case "Paused by you":
      return "Your work was handed to others.";
    case "Paused by the host":
      return state.status?.reason ?? "It goes on when the host says so.";
    case "Finished":
      return "The run is complete. Thank you for your part in it.";
    case "Left":
      return "Your open work was handed to others. Thank you.";
    case "Problem":
      return "This device has stopped. Its open work was handed to others.";
    default: {
      const { progress } = state;
      if (!progress) return "";
      return `Images of ${progress.height}×${progress.width}, piece ${Math.min(progress.done + 1, progress.units)} of ${progress.units}.`;
    }
  }
}

function Facts({ state }: { state: VolunteerState }) {
  const { status } = state;
  return (
    <dl class="facts">
      <div>
        <dt>Images/s</dt>
        <dd>{formatSpeed(state.imagesPerSecond)}</dd>
      </div>
      <div>
        <dt>Step</dt>
        <dd>
          {status ? status.step : "–"}
          {status && <small> of {status.totalSteps}</small>}
        </dd>
      </div>
      <div class="wide">
        <dt>Computes on</dt>
        <dd class="words">{state.device?.description ?? "–"}</dd>
      </div>
    </dl>
  );
}

function Controls({ state }: { state: VolunteerState }) {
  if (state.ended)
    return (
      <div class="buttons">
        {state.ended.reason !== "finished" && (
          <button type="button" class="primary" onClick={start}>
            {state.ended.reason === "problem" ? "Try again" : "Join again"}
          </button>
        )}
        <a class="button" href="/dashboard">
          See the results
        </a>
      </div>
    );
  return (
    <div class="buttons">
      {state.paused ? (
        <button type="button" class="primary" onClick={resume}>
          Resume
        </button>
      ) : (
        <button type="button" onClick={pause}>
          Pause
        </button>
      )}
      <button type="button" onClick={leave}>
        Leave
      </button>
    </div>
  );
}

function Throttle() {
  const percent = throttle.value;
  const words = percent >= 100 ? "full speed" : percent <= 30 ? "gentle" : "in between";
  return (
    <label class="throttle">
      <span>
        Power <output>{`${percent} %, ${words}`}</output>
      </span>
      <input
        type="range"
        min="10"
        max="100"
        step="10"
        value={percent}
        aria-valuetext={`${percent} percent, ${words}`}
        onInput={(event) => setThrottle(event.currentTarget.valueAsNumber)}
      />
    </label>
  );
}
