/** The join page: invitation, then the work, then thanks. One column, phone first. */

import { Contribution } from "./contribution.tsx";
import { Invite } from "./invite.tsx";
import { joined, run, runUnreachable, volunteer } from "./join-store.ts";
import { Notices, Problems } from "./notices.tsx";
import { Progress } from "./progress.tsx";
import { Welcome } from "./welcome.tsx";
import { Work } from "./work.tsx";

export function App() {
  const state = volunteer.value;
  return (
    <>
      <header class="top">
        <a class="brand" href="/dashboard">
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
        {!state && <Welcome />}
        {state && <Work state={state} />}
        <Problems />
        {state && <Contribution state={state} />}
        {(run.value || state?.run) && <Progress state={state} />}
        {runUnreachable.value && !joined.value && (
          <p class="card" role="alert">
            The coordinator does not answer. Check that it is running, then reload this page.
          </p>
        )}
        <Notices />
        {state && !state.ended && <Invite />}
      </main>
      <footer>
        <p>
          Images come from the host. Nothing of yours is sent but gradients, the name above, what
          browser and GPU this is, and how fast.
        </p>
        <p>
          <a href="/bench">How fast is this device?</a>
        </p>
      </footer>
    </>
  );
}
