/** Light and dark: follows the system unless the person chose; canvases ask here for colours. */

import { effect, signal } from "@preact/signals";
import { theme } from "./preferences.ts";

const DARK = matchMedia("(prefers-color-scheme: dark)");
const systemDark = signal(DARK.matches);

/** Raised when colours change, so that canvases draw again. */
export const dark = signal(DARK.matches);

let probe: HTMLElement | undefined;
const cache = new Map<string, string>();

/** Applies the chosen theme to the document and follows the system; called once. */
export function followTheme(): void {
  DARK.addEventListener("change", () => {
    systemDark.value = DARK.matches;
  });
  effect(() => {
    const chosen = theme.value;
    if (chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    cache.clear();
    dark.value = chosen === "system" ? systemDark.value : chosen === "dark";
  });
}

/** The computed colour of a token such as "--accent": canvases cannot read light-dark(). */
export function colour(token: string): string {
  const known = cache.get(token);
  if (known) return known;
  if (!probe) {
    probe = document.createElement("span");
    probe.hidden = true;
    document.body.append(probe);
  }
  probe.style.color = `var(${token})`;
  const value = getComputedStyle(probe).color;
  cache.set(token, value);
  return value;
}
