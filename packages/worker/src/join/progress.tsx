/** How the run is doing: live while taking part, as it was at loading before. */

import type { VolunteerState } from "../client/volunteer-state.ts";
import { run } from "./join-store.ts";
import { formatShare, formatSpeed } from "./numbers.ts";

export function Progress({ state }: { state: VolunteerState | undefined }) {
  const live = state?.status;
  const known = run.value;
  const step = live?.step ?? known?.step ?? 0;
  const totalSteps = live?.totalSteps ?? known?.totalSteps ?? 0;
  const loss = live?.loss ?? known?.loss;
  const top1 = live?.top1 ?? known?.evaluation?.top1;
  const volunteers = live?.volunteers ?? known?.volunteers.filter((row) => row.connected).length;
  const speed = live?.imagesPerSecond ?? known?.imagesPerSecond ?? 0;
  return (
    <section class="card" aria-labelledby="run-title">
      <h2 id="run-title">
        The run{(known ?? state?.run) && <small> {(state?.run ?? known)?.name}</small>}
      </h2>
      <progress
        value={step}
        max={Math.max(1, totalSteps)}
        aria-label={`Step ${step} of ${totalSteps}`}
      />
      <dl class="facts four">
        <div>
          <dt>Step</dt>
          <dd>
            {step}
            <small> of {totalSteps}</small>
          </dd>
        </div>
        <div>
          <dt>Loss</dt>
          <dd>{loss === undefined ? "–" : loss.toFixed(3)}</dd>
        </div>
        <div>
          <dt>Accuracy</dt>
          <dd>{formatShare(top1)}</dd>
        </div>
        <div>
          <dt>Devices</dt>
          <dd>
            {volunteers ?? "–"}
            <small> {formatSpeed(speed)} images/s</small>
          </dd>
        </div>
      </dl>
    </section>
  );
}
