/** How others join: this very link, as text and as a QR code. */

import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { encode } from "uqr";

export function Invite() {
  const link = `${location.origin}/${location.hash}`;
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  const label = useSignal("Copy link");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(link);
      label.value = "Copied";
    } catch {
      label.value = "Select it and copy by hand";
    }
  };
  return (
    <details class="card invite">
      <summary>Invite others</summary>
      {local ? (
        <p>
          This link works on this computer only. To invite other devices, the host starts with
          --host (and --https for phones).
        </p>
      ) : (
        <QrCode text={link} />
      )}
      <p class="link">{link}</p>
      <button type="button" onClick={() => void copy()}>
        {label.value}
      </button>
    </details>
  );
}

/** Dark on white whatever the theme, since some readers want it so. */
function QrCode({ text }: { text: string }) {
  const { size, path } = useMemo(() => {
    const { data } = encode(text, { border: 2 });
    const cells = data.flatMap((row, y) =>
      row.flatMap((cell, x) => (cell ? [`M${x} ${y}h1v1h-1z`] : [])),
    );
    return { size: data.length, path: cells.join("") };
  }, [text]);
  return (
    <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label="QR code of the link">
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#111" shape-rendering="crispEdges" />
    </svg>
  );
}
