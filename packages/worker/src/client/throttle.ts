/** The throttle: a duty cycle between units, so that a device stays cool and its owner content. */

export const LOWEST_THROTTLE = 10;
/** A rest is never longer than this, or a slow unit would let its lease expire. */
const LONGEST_REST_MS = 10_000;

/** A percentage as the throttle takes it: whole, from 10 to 100. */
export function clampThrottle(percent: number): number {
  if (!Number.isFinite(percent)) return 100;
  return Math.min(100, Math.max(LOWEST_THROTTLE, Math.round(percent)));
}

/** Milliseconds to rest after `busyMs` of work, so that `percent` of the time is work. */
export function restMs(busyMs: number, percent: number): number {
  const share = clampThrottle(percent);
  return Math.min(LONGEST_REST_MS, (busyMs * (100 - share)) / share);
}
