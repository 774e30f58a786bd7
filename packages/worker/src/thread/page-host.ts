/** What a page's Web Worker offers to executors. */

import type { Host } from "../client/executors.ts";
import { openBrowserChoices } from "../engine/choice-store-browser.ts";
import { fetchModule } from "../engine/wasm/modules-web.ts";

/** The host of this worker. */
export function pageHost(): Host {
  return {
    kind: "browser",
    loadModule: fetchModule,
    threads: kernelThreads(),
    choices: openBrowserChoices(__BUILD_ID__),
    tfjsWasmUrl: new URL(__TFJS_WASM_PATH__, location.origin).href,
  };
}

/** Several need shared memory, which only an isolated page has; one core is left to the person. */
function kernelThreads(): number {
  return crossOriginIsolated ? Math.max(1, Math.min(4, navigator.hardwareConcurrency - 1)) : 1;
}
