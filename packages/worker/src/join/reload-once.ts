/** A tab of another build than the coordinator's reloads: once, or it would for ever. */

const KEY = "swarmvit.reloaded";
/** A second mismatch within this time is not mended by reloading. */
const AGAIN_MS = 60_000;

/** Reloads the page unless it just did; true where it reloads. */
export function reloadOnce(): boolean {
  try {
    const last = Number(sessionStorage.getItem(KEY) ?? Number.NEGATIVE_INFINITY);
    if (Date.now() - last < AGAIN_MS) return false;
    sessionStorage.setItem(KEY, String(Date.now()));
  } catch {
    return false; // without storage nobody would know that it was reloaded before
  }
  const url = new URL(location.href);
  // A person who had started need not start again.
  url.searchParams.set("autostart", "");
  history.replaceState(null, "", url);
  location.reload();
  return true;
}
