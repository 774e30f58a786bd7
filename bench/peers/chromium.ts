/** Executors in a tab of an installed browser, driven from here. */

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Profile } from "@swarmvit/worker/bench/profile";
import type { Rounds, UnitSize } from "@swarmvit/worker/bench/unit";
import {
  findBrowser,
  launchBrowser,
  type PageFile,
  servePage,
} from "../../test/support/browser.ts";
import { bundle } from "../../test/support/bundle.ts";
import { PeerMissing, type RunningPeer } from "./peer.ts";

export type ChromiumPeer = "webgpu-chromium" | "wasm-chromium" | "tfjs-webgpu-chromium";

const KERNELS = new URL(
  "../../packages/worker/src/engine/wasm/build/kernels.wasm",
  import.meta.url,
);
const PAGE = `<!doctype html><script type="module">
import * as driver from "/driver.js";
globalThis.driver = driver;
</script>`;

/** Opens a browser with a page of its own, and computes the first unit there. */
export async function startInChromium(name: ChromiumPeer, unit: UnitSize): Promise<RunningPeer> {
  if (!findBrowser()) throw new PeerMissing("no Chrome, Edge or Chromium is installed");
  const driver = fileURLToPath(new URL("chromium-driver.ts", import.meta.url));
  const files = new Map<string, PageFile>([
    ["/", { type: "text/html", body: PAGE }],
    ["/driver.js", { type: "text/javascript", body: await bundle(driver) }],
    ["/kernels.wasm", { type: "application/wasm", body: await readFile(KERNELS) }],
  ]);
  const server = await servePage(files);
  const browser = await launchBrowser();
  const close = async () => {
    await browser.close();
    await server.close();
  };
  try {
    const page = await browser.newPage();
    await page.goto(server.url);
    await page.waitForFunction("globalThis.driver");
    const hello = (await page.evaluate(
      `driver.open(${JSON.stringify(name)}, ${JSON.stringify(unit)})`,
    )) as Pick<Rounds, "description" | "firstMs" | "counts">;
    const profile = async () => (await page.evaluate("driver.profile()")) as Profile;
    return {
      ...hello,
      round: () => page.evaluate("driver.round()") as Promise<number>,
      ...(name === "webgpu-chromium" && { profile }),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
