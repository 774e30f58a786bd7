/** What the host may do, with the token from the page's fragment; each is asked for twice. */

import { useSignal } from "@preact/signals";
import type { Control } from "@swarmvit/shared/protocol";
import type { Phase, RunState } from "@swarmvit/shared/run";
import { useRef } from "preact/hooks";
import type { Store } from "./store.ts";

type Action = Control["action"];

const ACTIONS: Readonly<Record<Action, { label: string; question: string }>> = {
  pause: { label: "Pause", question: "Pause the run? Volunteers stop after the unit they are at." },
  resume: { label: "Resume", question: "Go on with the run?" },
  rollback: {
    label: "Roll back",
    question: "Go back to the last checkpoint? Steps after it are computed again.",
  },
  save: { label: "Save now", question: "Write a checkpoint now?" },
  stop: {
    label: "Stop",
    question:
      "Stop the run? The open step is finished and everything is saved; swarmvit train --resume goes on with it.",
  },
};

/** The host's token in a location's fragment ("#host=TOKEN"), or undefined. */
export function hostToken(fragment: string): string | undefined {
  return new URLSearchParams(fragment.replace(/^#/, "")).get("host") || undefined;
}

/** Which actions make sense in a phase. */
export function actionsIn(phase: Phase): readonly Action[] {
  if (phase === "done") return ["stop"];
  if (phase === "diverged") return ["rollback", "stop"];
  if (phase === "paused") return ["resume", "save", "stop"];
  return ["pause", "save", "stop"];
}

/** The buttons and their question. */
export function HostControls(props: { store: Store; state: RunState; token: string }) {
  const { store, state, token } = props;
  const dialog = useRef<HTMLDialogElement>(null);
  const asked = useSignal<Action>("pause");
  const answer = useSignal("");
  const act = async () => {
    const action = asked.value;
    answer.value = "…";
    const problem = await store.control({ token, action });
    answer.value = problem ?? `${ACTIONS[action].label}: done.`;
  };
  return (
    <section class="card host" aria-label="Host controls">
      <strong>Host</strong>
      {actionsIn(state.phase).map((action) => (
        <button
          key={action}
          type="button"
          class={action === "stop" ? "danger" : ""}
          onClick={() => {
            asked.value = action;
            dialog.current?.showModal();
          }}
        >
          {ACTIONS[action].label}
        </button>
      ))}
      <span class="muted" role="status">
        {answer}
      </span>
      <dialog ref={dialog} aria-labelledby="host-question">
        <form
          method="dialog"
          onSubmit={(event) => {
            const submitter = (event as SubmitEvent).submitter as HTMLButtonElement | null;
            if (submitter?.value === "yes") void act();
          }}
        >
          <p id="host-question">{ACTIONS[asked.value].question}</p>
          <div class="buttons">
            <button type="submit" value="no">
              Cancel
            </button>
            <button type="submit" value="yes" class="primary">
              {ACTIONS[asked.value].label}
            </button>
          </div>
        </form>
      </dialog>
    </section>
  );
}
