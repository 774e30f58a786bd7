/** The page's compute thread: a Web Worker that does everything heavy, so that the page stays responsive. */

import { findDevice } from "../client/executor-choice.ts";
import { openBrowserChoices } from "../engine/choice-store-browser.ts";
import { fetchModule } from "../engine/wasm/modules-web.ts";
import { createBrowserDecode } from "../input/decode-browser.ts";
import { platformName } from "./platform-name.ts";
import { exposeCompute } from "./remote-compute.ts";

/** Browsers round this to 8 at most and some do not tell; phones tell 2 to 8. */
const deviceGigabytes = "deviceMemory" in navigator ? Number(navigator.deviceMemory) : 4;

const choices = openBrowserChoices(__BUILD_ID__);

exposeCompute({
  decode: createBrowserDecode(),
  platform: platformName(navigator.userAgent),
  // A tab that takes more than an eighth of the memory is killed first on a phone.
  memoryBytes: Math.min(2 ** 30, deviceGigabytes * 2 ** 27),
  findDevice: (backend) =>
    findDevice(backend, {
      kind: "browser",
      loadModule: fetchModule,
      threads: kernelThreads(),
      choices,
      tfjsWasmUrl: new URL(__TFJS_WASM_PATH__, location.origin).href,
    }),
});

/** Several need shared memory, which only an isolated page has; one core is left to the person. */
function kernelThreads(): number {
  return crossOriginIsolated ? Math.max(1, Math.min(4, navigator.hardwareConcurrency - 1)) : 1;
}
