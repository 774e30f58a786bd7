/** The page's compute thread: a Web Worker that does everything heavy, so that the page stays responsive. */

import { findDevice } from "../client/executor-choice.ts";
import { createBrowserDecode } from "../input/decode-browser.ts";
import { pageHost } from "./page-host.ts";
import { platformName } from "./platform-name.ts";
import { exposeCompute } from "./remote-compute.ts";

/** Browsers round this to 8 at most and some do not tell; phones tell 2 to 8. */
const deviceGigabytes = "deviceMemory" in navigator ? Number(navigator.deviceMemory) : 4;

const host = pageHost();

exposeCompute({
  decode: createBrowserDecode(),
  platform: platformName(navigator.userAgent),
  // A tab that takes more than an eighth of the memory is killed first on a phone.
  memoryBytes: Math.min(2 ** 30, deviceGigabytes * 2 ** 27),
  findDevice: (backend) => findDevice(backend, host),
});
