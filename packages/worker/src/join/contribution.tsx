/** What this device has given, over all its visits to the run. */

import type { VolunteerState } from "../client/volunteer-state.ts";
import { bytesSent, contribution } from "./join-store.ts";
import { formatBytes, formatCount } from "./numbers.ts";

export function Contribution({ state }: { state: VolunteerState }) {
  const { samples, accepted, late, refused } = contribution.value;
  return (
    <section class="card" aria-labelledby="mine-title">
      <h2 id="mine-title">
        My contribution{state.identity && <small> as {state.identity.name}</small>}
      </h2>
      <dl class="facts four">
        <div>
          <dt>Images</dt>
          <dd>{formatCount(samples)}</dd>
        </div>
        <div>
          <dt>Accepted</dt>
          <dd>{formatCount(accepted)}</dd>
        </div>
        <div>
          <dt title="Good work that somebody else finished first">Too late</dt>
          <dd>{formatCount(late)}</dd>
        </div>
        <div>
          <dt>Refused</dt>
          <dd>{formatCount(refused)}</dd>
        </div>
      </dl>
      <p class="muted">{formatBytes(bytesSent.value)} of gradients sent in this visit.</p>
    </section>
  );
}
