/** The table of volunteers: who computes, how fast, and what became of their leases. */

import { useSignal } from "@preact/signals";
import type { RunState, VolunteerRow } from "@swarmvit/shared/run";
import { formatCount, formatPercent, formatSpeed, plural } from "./format.ts";
import type { Speeds } from "./speeds.ts";
import { SPEED_SAMPLES } from "./speeds.ts";
import { rankVolunteers, type SortKey, standingBy } from "./volunteers.ts";

const COLUMNS: readonly { key: SortKey; label: string; extra?: true; numeric?: true }[] = [
  { key: "name", label: "Volunteer" },
  { key: "state", label: "State" },
  { key: "imagesPerSecond", label: "Images/s", numeric: true },
  { key: "samples", label: "Share", numeric: true },
  { key: "accepted", label: "Accepted", numeric: true, extra: true },
  { key: "refused", label: "Refused", numeric: true, extra: true },
  { key: "expired", label: "Expired", numeric: true, extra: true },
  { key: "lastStep", label: "Last step", numeric: true, extra: true },
];
/** Those who left are kept at the end of the table, the latest of them. */
const MAX_GONE = 10;
/** A line through fewer speeds says nothing. */
const MIN_SAMPLES = 4;

/** The section. */
export function VolunteersPanel(props: {
  rows: readonly VolunteerRow[];
  speeds: Speeds;
  config: RunState["config"];
}) {
  const sort = useSignal<SortKey>("samples");
  const { rows } = props;
  const ranked = rankVolunteers(rows, sort.value, MAX_GONE);
  const total = rows.reduce((sum, row) => sum + row.samples, 0);
  const present = rows.filter((row) => row.connected).length;
  return (
    <section aria-labelledby="volunteers-title">
      <header class="section-head">
        <h2 id="volunteers-title">Volunteers</h2>
        <p class="muted num">
          {formatCount(present)} here, {formatCount(rows.length - present)} gone
        </p>
      </header>
      <StandingBy rows={rows} config={props.config} />
      {rows.length === 0 ? (
        <p class="card empty">
          Nobody yet. Open the link above in a browser tab: it will appear here within a second.
        </p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
        <section class="card scroll" aria-label="Table of volunteers" tabIndex={0}>
          <table class="rows volunteers">
            <thead>
              <tr>
                {COLUMNS.map(({ key, label, extra, numeric }) => (
                  <th
                    key={key}
                    scope="col"
                    class={`${extra ? "extra" : ""} ${numeric ? "num" : ""}`}
                    aria-sort={sort.value === key ? (numeric ? "descending" : "ascending") : "none"}
                  >
                    <button
                      type="button"
                      onClick={() => {
                        sort.value = key;
                      }}
                    >
                      {label}
                    </button>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {ranked.shown.map((row) => (
                <Row
                  key={row.id}
                  row={row}
                  share={total > 0 ? row.samples / total : 0}
                  speeds={props.speeds.rows.get(row.id) ?? []}
                />
              ))}
            </tbody>
          </table>
          {ranked.hidden > 0 && (
            <p class="summary">and {plural(ranked.hidden, "other")} who left earlier</p>
          )}
        </section>
      )}
    </section>
  );
}

function StandingBy(props: { rows: readonly VolunteerRow[]; config: RunState["config"] }) {
  const found = standingBy(props.rows, props.config);
  if (!found) return null;
  const { spare, units, batchSize } = found;
  return (
    <p class="card standing-by">
      A step has {plural(units, "unit")} of work, so {plural(spare, "volunteer")} must stand by. A
      new run with <code>--batch-size {batchSize}</code> has work for all.
    </p>
  );
}

function Row(props: { row: VolunteerRow; share: number; speeds: readonly number[] }) {
  const { row, share, speeds } = props;
  return (
    <tr class={row.connected ? "" : "gone"}>
      <th scope="row">
        <span class="name">{row.name}</span>
        <span class="device">{deviceText(row)}</span>
      </th>
      <td>
        <span class={`state state-${row.connected ? row.state : "gone"}`}>
          {row.connected ? row.state : "gone"}
        </span>
      </td>
      <td class="num">
        <Sparkline values={speeds} />
        {row.connected ? formatSpeed(row.imagesPerSecond) : "–"}
      </td>
      <td class="num share">
        {formatPercent(share)}
        <span class="share-bar">
          <i style={{ width: `${100 * share}%` }} />
        </span>
      </td>
      <td class="num extra">{formatCount(row.accepted)}</td>
      <td class={row.refused > 0 ? "num extra bad" : "num extra"}>{formatCount(row.refused)}</td>
      <td class={row.expired > 0 ? "num extra warn" : "num extra"}>{formatCount(row.expired)}</td>
      <td class="num extra">{formatCount(row.lastStep)}</td>
    </tr>
  );
}

/** The device says its executor first, usually; the executor is added where it does not. */
function deviceText({ device, executor }: VolunteerRow): string {
  return device.startsWith(executor) ? device : `${executor} · ${device}`;
}

function Sparkline({ values }: { values: readonly number[] }) {
  const top = Math.max(...values, 0);
  if (values.length < MIN_SAMPLES || top <= 0) return null;
  const points = values.map((value, i) => {
    const x = 1 + ((i + SPEED_SAMPLES - values.length) * 46) / (SPEED_SAMPLES - 1);
    return `${x.toFixed(1)},${(15 - (14 * value) / top).toFixed(1)}`;
  });
  return (
    <svg class="spark" viewBox="0 0 48 16" aria-hidden="true">
      <polyline points={points.join(" ")} />
    </svg>
  );
}
