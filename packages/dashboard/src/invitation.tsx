/** How others join: the link and its QR code, large until somebody has. */

import { useSignal } from "@preact/signals";
import type { RunState } from "@swarmvit/shared/run";
import { useMemo } from "preact/hooks";
import { encode } from "uqr";

/** The card; it folds itself to one line when the first volunteer is there. */
export function Invitation({ state }: { state: RunState }) {
  const link = state.joinUrl ?? location.origin;
  const unfolded = useSignal(false);
  if (state.phase === "done") return null;
  const alone = !state.volunteers.some((row) => row.connected);
  const large = alone || unfolded.value;
  const local = isLocal(link);
  return (
    <section
      class={large ? "card invitation" : "card invitation small"}
      aria-labelledby="invite-title"
    >
      {large && <QrCode text={link} />}
      <div>
        <h2 id="invite-title">{alone ? "Open this link to train along" : "Invite others"}</h2>
        <p class="join">
          <a href={link}>{link}</a> <CopyButton text={link} />
        </p>
        {large && (
          <p class="muted">
            {local
              ? "This link works on this computer only. Start with --host (and --https for phones) to invite other devices."
              : "Works in Chrome and Edge, in Safari 26 and later, and in Firefox on Windows and macOS; on phones through https. Nothing is installed."}
          </p>
        )}
      </div>
      {!alone && (
        <button
          type="button"
          aria-expanded={large}
          onClick={() => {
            unfolded.value = !unfolded.value;
          }}
        >
          {large ? "Hide QR" : "Show QR"}
        </button>
      )}
    </section>
  );
}

/** True for links that only the host's own machine can open. */
export function isLocal(link: string): boolean {
  const { hostname } = new URL(link);
  return hostname === "localhost" || hostname === "[::1]" || hostname.startsWith("127.");
}

/** A QR code as one path; dark on white whatever the theme, since some readers want it so. */
function QrCode({ text }: { text: string }) {
  const { size, path } = useMemo(() => {
    const { data } = encode(text, { border: 2 });
    const cells = data.flatMap((row, y) =>
      row.flatMap((cell, x) => (cell ? [`M${x} ${y}h1v1h-1z`] : [])),
    );
    return { size: data.length, path: cells.join("") };
  }, [text]);
  return (
    <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={`QR code of ${text}`}>
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#111" shape-rendering="crispEdges" />
    </svg>
  );
}

function CopyButton({ text }: { text: string }) {
  const label = useSignal("Copy");
  // The clipboard exists only in secure contexts; without it the link itself can be selected.
  if (!navigator.clipboard) return null;
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      label.value = "Copied";
    } catch {
      label.value = "Not allowed";
    }
    setTimeout(() => {
      label.value = "Copy";
    }, 2000);
  };
  return (
    <button type="button" onClick={() => void copy()}>
      {label}
    </button>
  );
}
