/** A page in real Chromium that runs a bundled `checks(group, read)` against the golden files. */

import type { Browser } from "playwright-core";
import { launchBrowser, servePage } from "./browser.ts";
import { bundle } from "./bundle.ts";
import { readGolden } from "./golden-files.ts";

const PAGE = `<!doctype html><script type="module">
import { checks } from "/checks.js";
globalThis.checks = (group) => checks(group, async (name) =>
  Uint8Array.from(atob(await readGolden(name)), (c) => c.charCodeAt(0)));
</script>`;

export interface ChecksPage {
  /** What `checks(group, read)` of the module resolves to; it must survive JSON. */
  run(group: string): Promise<unknown>;
  close(): Promise<void>;
}

/** Opens a page for the module at `entry` (an absolute path). */
export async function openChecksPage(entry: string): Promise<ChecksPage> {
  const code = await bundle(entry);
  const browser: Browser = await launchBrowser();
  const server = await servePage(
    new Map([
      ["/", { type: "text/html", body: PAGE }],
      ["/checks.js", { type: "text/javascript", body: code }],
    ]),
  );
  const page = await browser.newPage();
  await page.exposeFunction("readGolden", async (name: string) =>
    Buffer.from(await readGolden(name)).toString("base64"),
  );
  await page.goto(server.url);
  await page.waitForFunction("globalThis.checks");
  return {
    run: (group) => page.evaluate(`checks("${group}")`),
    async close() {
      await browser.close();
      await server.close();
    },
  };
}
