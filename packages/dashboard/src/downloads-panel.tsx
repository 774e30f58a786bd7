/** The trained weights, to take away. */

import type { RunState } from "@swarmvit/shared/run";
import { formatBytes, formatCount, formatPercent } from "./format.ts";

/** Best and last weights, then the checkpoints that a run can be resumed from. */
export function DownloadsPanel({ state }: { state: RunState }) {
  const { best, checkpoints } = state;
  return (
    <section aria-labelledby="downloads-title">
      <header class="section-head">
        <h2 id="downloads-title">Downloads</h2>
      </header>
      <div class="card">
        <ul class="downloads">
          {best && (
            <li>
              <a href="/checkpoints/best.safetensors" download>
                best.safetensors
              </a>
              <span class="muted num">
                {formatPercent(best.top1)} top-1 at step {formatCount(best.step)}
              </span>
            </li>
          )}
          {checkpoints.length > 0 && (
            <li>
              <a href="/checkpoints/last.safetensors" download>
                last.safetensors
              </a>
              <span class="muted">weights only, timm names</span>
            </li>
          )}
        </ul>
        {checkpoints.length === 0 && !best ? (
          <p class="muted">The first weights appear here with the first checkpoint.</p>
        ) : (
          <details class="fold">
            <summary>Checkpoints ({checkpoints.length})</summary>
            <ul class="downloads">
              {[...checkpoints]
                .sort((a, b) => b.step - a.step)
                .map(({ file, step, bytes }) => (
                  <li key={file}>
                    <a href={`/checkpoints/${encodeURIComponent(file)}`} download>
                      {file}
                    </a>
                    <span class="muted num">
                      step {formatCount(step)} · {formatBytes(bytes)}
                    </span>
                  </li>
                ))}
            </ul>
          </details>
        )}
      </div>
    </section>
  );
}
