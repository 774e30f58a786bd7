/** The page: header, what is wrong, invitation, curves, resolutions, volunteers, the rest. */

import { useSignalEffect } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { zoom } from "./chart.tsx";
import { ConfigPanel } from "./config-panel.tsx";
import { CurvesPanel } from "./curves-panel.tsx";
import { DownloadsPanel } from "./downloads-panel.tsx";
import { EventsPanel } from "./events-panel.tsx";
import { formatClock, formatCount } from "./format.ts";
import { Header, Numbers, pageTitle } from "./header.tsx";
import { HostControls } from "./host-controls.tsx";
import { Invitation } from "./invitation.tsx";
import { OpenStep, Refusals, Traffic } from "./now-panel.tsx";
import { axis, smoothing } from "./preferences.ts";
import { ResolutionsPanel } from "./resolutions-panel.tsx";
import { curves as toCurves } from "./series.ts";
import type { Connection, Store } from "./store.ts";
import { VolunteersPanel } from "./volunteers-panel.tsx";

interface Props {
  readonly store: Store;
  readonly hostToken: string | undefined;
}

/** Everything, from one store. */
export function App({ store, hostToken }: Props) {
  const state = store.state.value;
  const history = store.history.value;
  const connection = store.connection.value;
  useSignalEffect(() => {
    document.title = pageTitle(store.state.value, store.connection.value);
  });
  const curves = useMemo(
    () => toCurves(history.steps, history.evals, axis.value, smoothing.value, state?.dataset.train),
    [history, axis.value, smoothing.value, state?.dataset.train],
  );
  if (!state) return <Nothing connection={connection} />;
  return (
    <>
      <Header state={state} connection={connection} />
      <main>
        <Numbers state={state} history={history} />
        <Problem phase={state.phase} reason={state.reason} />
        {hostToken && <HostControls store={store} state={state} token={hostToken} />}
        <Invitation state={state} />
        <CurvesPanel curves={curves} history={history} formatX={formatX} />
        <ResolutionsPanel curves={curves} config={state.config} formatX={formatX} />
        <div class="columns">
          <VolunteersPanel
            rows={state.volunteers}
            speeds={store.speeds.value}
            config={state.config}
          />
          <aside aria-label="This moment">
            <OpenStep state={state} />
            <Traffic state={state} history={history} />
            <Refusals refusals={state.refusals} />
          </aside>
        </div>
        <div class="columns even">
          <EventsPanel log={history.log} />
          <div class="stack">
            <DownloadsPanel state={state} />
            <ConfigPanel config={state.config} />
          </div>
        </div>
      </main>
      <footer class="muted">
        {state.name} · run {state.id} · {formatCount(state.parameters)} parameters ·{" "}
        <a href="/bench">How fast is this device?</a>
      </footer>
    </>
  );
}

/** Before there is a state: still asking, or nobody answers. */
function Nothing({ connection }: { connection: Connection }) {
  const failed = connection === "unreachable";
  return (
    <main class="nothing">
      <h1>{failed ? "The coordinator does not answer" : "Loading the run…"}</h1>
      <p role="status" class="muted">
        {failed
          ? "It may have been stopped, or this device has lost its network. The page keeps trying and goes on by itself; on the host, the terminal shows whether it runs."
          : "Fetching the run's state and history."}
      </p>
      {failed && (
        <button type="button" onClick={() => location.reload()}>
          Try now
        </button>
      )}
    </main>
  );
}

/** What the run itself says is in its way. */
function Problem({ phase, reason }: { phase: string; reason: string | undefined }) {
  if (phase === "diverged")
    return (
      <div class="banner bad" role="alert">
        <strong>The run has diverged and is paused.</strong>{" "}
        {reason ?? "The loss or the gradient is not finite."} The host can roll back to the last
        checkpoint, or start again with a lower learning rate.
      </div>
    );
  if (phase === "paused")
    return (
      <div class="banner warn">
        <strong>Paused.</strong> {reason ?? "The host has paused the run."}
      </div>
    );
  if (phase === "waiting" && reason)
    return (
      <div class="banner warn">
        <strong>Waiting.</strong> {reason}
      </div>
    );
  return null;
}

function formatX(value: number): string {
  if (axis.value === "time") return formatClock(value);
  if (axis.value === "epoch") return String(Number(value.toFixed(zoom.value ? 3 : 2)));
  return Number.isInteger(value) ? formatCount(value) : "";
}
