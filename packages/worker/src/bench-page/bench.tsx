/** Entry of the bench page. */

import { render } from "preact";
import "./bench.css";
import { App } from "./bench-app.tsx";
import { lookAround } from "./bench-store.ts";

const root = document.getElementById("app");
if (!root) throw new Error('expected an element with id "app" in bench.html, found none');
render(<App />, root);
void lookAround();
