/** What the person watching has chosen, kept in this browser. */

import { effect, type Signal, signal } from "@preact/signals";
import type { Axis } from "./series.ts";
import { DEFAULT_SMOOTHING } from "./smooth.ts";

export type Theme = "system" | "light" | "dark";

const PREFIX = "swarmvit.dashboard.";

export const smoothing = kept("smoothing", DEFAULT_SMOOTHING, (value) => value >= 0 && value < 1);
export const axis = kept<Axis>("axis", "step", (value) =>
  ["step", "epoch", "time"].includes(value),
);
export const logLoss = kept("log-loss", false, () => true);
/** Fit the y axis to the smoothed line and let outliers leave the chart. */
export const ignoreOutliers = kept("ignore-outliers", false, () => true);
export const theme = kept<Theme>("theme", "system", (value) =>
  ["system", "light", "dark"].includes(value),
);

/** A signal that survives a reload; a stored value of another type or not `valid` is ignored. */
function kept<T>(name: string, initial: T, valid: (value: T) => boolean): Signal<T> {
  const value = signal(initial);
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(PREFIX + name) ?? "null");
    if (typeof stored === typeof initial && valid(stored as T)) value.value = stored as T;
  } catch {
    // Storage is forbidden or was written by something else: the default will do.
  }
  effect(() => {
    const json = JSON.stringify(value.value);
    try {
      localStorage.setItem(PREFIX + name, json);
    } catch {
      // Not kept, then.
    }
  });
  return value;
}
