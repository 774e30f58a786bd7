/** Entry of the join page. */

import { effect } from "@preact/signals";
import { render } from "preact";
import { App } from "./app.tsx";
import "./join.css";
import { autostart, joined, leave, lookAround, run, start, word } from "./join-store.ts";
import { createWakeLock } from "./wake-lock.ts";

const root = document.getElementById("app");
if (!root) throw new Error('expected an element with id "app" in index.html, found none');
render(<App />, root);

effect(() => {
  const parts = [word.value, run.value?.name, "swarmvit"].filter(Boolean);
  document.title = parts.join(" · ");
});

const wakeLock = createWakeLock();
effect(() => wakeLock.want(joined.value && word.value !== "Paused by you"));

// A page that goes for good hands its work back; one kept for "back" is frozen and comes back.
addEventListener("pagehide", (event) => {
  if (!event.persisted && joined.value) leave();
});

void lookAround().then(() => {
  if (autostart) start();
});
