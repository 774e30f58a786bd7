/** What is wrong or slower than it could be, and what to do about it. */

import { useSignal } from "@preact/signals";
import { type Problem, problemDetails } from "../client/problems.ts";
import { hidden, joined, notice, problem, surroundings, volunteer } from "./join-store.ts";

/** Why this device has stopped. */
export function Problems() {
  return problem.value ? <ProblemCard problem={problem.value} /> : null;
}

/** Why it is slower than it could be. */
export function Notices() {
  const onGpu = volunteer.value?.device && volunteer.value.device.executor !== "wasm";
  return (
    <>
      {joined.value && hidden.value && (
        <p class="card notice">This tab is in the background: browsers may slow it down.</p>
      )}
      {notice.value && !problem.value && !onGpu && <ProblemCard problem={notice.value} />}
    </>
  );
}

function ProblemCard({ problem }: { problem: Problem }) {
  const stop = problem.severity === "stop";
  return (
    <section
      class={`card ${stop ? "problem" : "notice"}`}
      role={stop ? "alert" : undefined}
      aria-label={problem.title}
    >
      <h2>{problem.title}</h2>
      <p>{problem.explanation}</p>
      <p class="advice">{problem.advice}</p>
      <CopyDetails problem={problem} />
    </section>
  );
}

function CopyDetails({ problem }: { problem: Problem }) {
  const shown = useSignal(false);
  const copied = useSignal(false);
  const text = problemDetails(problem, details());
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      copied.value = true;
    } catch {
      shown.value = true; // no clipboard on an insecure link: to be selected by hand
    }
  };
  return (
    <>
      <button type="button" onClick={() => void copy()}>
        {copied.value ? "Copied" : "Copy details"}
      </button>
      {shown.value && <pre>{text}</pre>}
    </>
  );
}

function details() {
  const { secure, webgpu, adapter, userAgent } = surroundings.value;
  const state = volunteer.value;
  const ended = state?.ended;
  return {
    detail: ended?.reason === "problem" ? ended.detail : state?.wrongDevice,
    device: state?.device?.description,
    browser: userAgent,
    secure: String(secure),
    webgpu: String(webgpu),
    adapter,
    build: __BUILD_ID__,
    step: state?.status?.step,
    time: new Date().toISOString(),
  };
}
