/** Entry of the watching page. */

import { render } from "preact";
import { App } from "./app.tsx";
import { hostToken } from "./host-controls.tsx";
import { openStore } from "./store.ts";
import { followTheme } from "./theme.ts";
import "./theme.css";
import "./dashboard.css";

followTheme();
const root = document.getElementById("app");
if (!root) throw new Error("The page has no #app: dashboard.html was changed");
render(<App store={openStore()} hostToken={hostToken(location.hash)} />, root);
