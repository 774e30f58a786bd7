/** What happened lately: volunteers coming and going, phases, checkpoints, alerts. */

import { formatCount, formatTime } from "./format.ts";
import type { LogRecord } from "./history.ts";

const SHOWN = 50;
const BAD = new Set(["refused", "expired", "abandoned", "diverged", "alert", "struck"]);

/** The last events, newest first. */
export function EventsPanel({ log }: { log: readonly LogRecord[] }) {
  return (
    <section aria-labelledby="events-title">
      <header class="section-head">
        <h2 id="events-title">Events</h2>
      </header>
      {log.length === 0 ? (
        <p class="card empty">Nothing has happened yet.</p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
        <section class="card scroll events" aria-label={`The last ${SHOWN} events`} tabIndex={0}>
          <ol>
            {log
              .slice(-SHOWN)
              .reverse()
              .map((record, i) => (
                <li key={`${record.time}-${i}`}>
                  <time class="muted num" dateTime={new Date(record.time).toISOString()}>
                    {formatTime(record.time)}
                  </time>
                  <span class={BAD.has(record.what) ? "what warn" : "what"}>
                    {record.kind === "worker" ? (
                      <>
                        <strong>{record.name}</strong> {record.what}
                        {record.code && (
                          <>
                            {" "}
                            <code>{record.code}</code>
                          </>
                        )}
                      </>
                    ) : (
                      <strong>{record.what}</strong>
                    )}{" "}
                    {record.detail && <span class="muted">{record.detail}</span>}
                  </span>
                  <span class="muted num">step {formatCount(record.step)}</span>
                </li>
              ))}
          </ol>
        </section>
      )}
    </section>
  );
}
