/** Numbers as people read them. */

/** 1234567 → "1.2 million", 12345 → "12,345". */
export function formatCount(count: number): string {
  if (count < 1e6) return Math.round(count).toLocaleString("en");
  return `${(count / 1e6).toFixed(1)} million`;
}

/** Images a second, with as many digits as mean something. */
export function formatSpeed(perSecond: number): string {
  if (perSecond <= 0) return "–";
  return perSecond < 10 ? perSecond.toFixed(1) : String(Math.round(perSecond));
}

/** Bytes → "4.9 MB". */
export function formatBytes(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

/** A share in [0, 1] → "81.2 %". */
export function formatShare(share: number | undefined): string {
  return share === undefined ? "–" : `${(100 * share).toFixed(1)} %`;
}
