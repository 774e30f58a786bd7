/** This moment: the open step's units, bytes on the wire, and refusals. */

import type { RunState } from "@swarmvit/shared/run";
import { formatBytes, formatCount, formatSpeed } from "./format.ts";
import type { History } from "./history.ts";

/** Above this many units a cell each would be too small to see. */
const MAX_CELLS = 128;

/** One cell a unit: done, leased, waiting. */
export function OpenStep({ state }: { state: RunState }) {
  const { open } = state;
  return (
    <section class="card" aria-labelledby="open-title">
      <h2 id="open-title">
        {open?.kind === "evaluation" ? "Open evaluation" : "Open step"}
        {open && <span class="muted num"> {formatCount(open.step)}</span>}
      </h2>
      {open ? (
        <>
          <Cells {...open} />
          <p class="counts num">
            <span class="key-cell done" /> {formatCount(open.done)} done{" "}
            <span class="key-cell leased" /> {formatCount(open.leased)} leased{" "}
            <span class="key-cell" /> {formatCount(open.units - open.done - open.leased)} planned
          </p>
        </>
      ) : (
        <p class="muted">
          {state.phase === "done" ? "All steps are done." : "No step is open right now."}
        </p>
      )}
    </section>
  );
}

function Cells({ units, leased, done }: { units: number; leased: number; done: number }) {
  const label = `${done} of ${units} units done, ${leased} leased`;
  if (units > MAX_CELLS)
    return (
      <div class="meter" role="img" aria-label={label}>
        <span class="done" style={{ width: `${(100 * done) / units}%` }} />
        <span class="leased" style={{ width: `${(100 * leased) / units}%` }} />
      </div>
    );
  return (
    <div class="cells" role="img" aria-label={label}>
      {Array.from({ length: units }, (_, i) => (
        <span key={i} class={i < done ? "done" : i < done + leased ? "leased" : ""} />
      ))}
    </div>
  );
}

/** Bytes so far, and a second over the last steps. */
export function Traffic({ state, history }: { state: RunState; history: History }) {
  const recent = history.steps.slice(-20);
  const seconds = recent.reduce((sum, row) => sum + row.seconds, 0);
  const rate = (pick: "bytes_in" | "bytes_out") =>
    seconds > 0
      ? `${formatBytes(recent.reduce((sum, row) => sum + row[pick], 0) / seconds)}/s`
      : "";
  const stepsPerMinute = seconds > 0 ? (60 * recent.length) / seconds : undefined;
  return (
    <section class="card" aria-labelledby="traffic-title">
      <h2 id="traffic-title">Traffic</h2>
      <dl class="facts num">
        <div>
          <dt>Received</dt>
          <dd>
            {formatBytes(state.bytesIn)} <span class="muted">{rate("bytes_in")}</span>
          </dd>
        </div>
        <div>
          <dt>Sent</dt>
          <dd>
            {formatBytes(state.bytesOut)} <span class="muted">{rate("bytes_out")}</span>
          </dd>
        </div>
        <div>
          <dt>Steps a minute</dt>
          <dd>{formatSpeed(stepsPerMinute)}</dd>
        </div>
      </dl>
    </section>
  );
}

const CODES: Readonly<Record<string, string>> = {
  EXPIRED: "too late, others had it",
  DUPLICATE: "filled before",
  STALE: "the step was over",
  NON_FINITE: "not a number in it",
  ZERO: "all zero",
  CHECKSUM: "damaged on the way",
  BUSY: "too much in flight",
  COUNTS: "impossible counts",
  TOKEN: "wrong lease token",
  LEASE: "unknown lease",
};

/** Contributions that were not used, by code. */
export function Refusals({ refusals }: { refusals: RunState["refusals"] }) {
  const rows = Object.entries(refusals)
    .filter(([, count]) => count > 0)
    .sort((a, b) => b[1] - a[1]);
  return (
    <section class="card" aria-labelledby="refusals-title">
      <h2 id="refusals-title">Refused contributions</h2>
      {rows.length === 0 ? (
        <p class="muted">None: everything sent was used.</p>
      ) : (
        <dl class="facts num">
          {rows.map(([code, count]) => (
            <div key={code}>
              <dt>
                <code>{code}</code> <span class="muted">{CODES[code] ?? ""}</span>
              </dt>
              <dd>{formatCount(count)}</dd>
            </div>
          ))}
        </dl>
      )}
    </section>
  );
}
