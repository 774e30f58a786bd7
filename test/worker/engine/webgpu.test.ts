import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { launchBrowser, servePage } from "../../support/browser.ts";
import { bundle } from "../../support/bundle.ts";
import { findDeno, runInDeno } from "../../support/deno.ts";
import { readGolden } from "../../support/golden-files.ts";
import type * as Checks from "./webgpu-checks.ts";

const GOLDEN = fileURLToPath(new URL("../../golden", import.meta.url));
/** Fewest checks that each group makes. */
const GROUPS = {
  ...{ operations: 65, blocks: 60, activations: 160, networks: 4000, hardware: 125, nodes: 11 },
} as const;
const LIMIT_MS = 180_000;
const PAGE = `<!doctype html><script type="module">
import { checks } from "/checks.js";
globalThis.checks = (group) => checks(group, async (name) =>
  Uint8Array.from(atob(await readGolden(name)), (c) => c.charCodeAt(0)));
</script>`;

const code = await bundle(fileURLToPath(new URL("./webgpu-checks.ts", import.meta.url)));

describe("webgpu in Chromium (Tint, SwiftShader) agrees with the oracle", () => {
  let browser: Browser;
  let page: Page;
  let server: Awaited<ReturnType<typeof servePage>>;

  beforeAll(async () => {
    browser = await launchBrowser();
    server = await servePage(
      new Map([
        ["/", { type: "text/html", body: PAGE }],
        ["/checks.js", { type: "text/javascript", body: code }],
      ]),
    );
    page = await browser.newPage();
    await page.exposeFunction("readGolden", async (name: string) =>
      Buffer.from(await readGolden(name)).toString("base64"),
    );
    await page.goto(server.url);
  });

  afterAll(async () => {
    await browser.close();
    await server.close();
  });

  it.each(Object.keys(GROUPS) as Checks.Group[])(
    "on %s",
    async (group) => {
      const found = (await page.evaluate(`checks("${group}")`)) as Checks.Found;
      expect(found.failures).toEqual([]);
      expect(found.checks).toBeGreaterThanOrEqual(GROUPS[group]);
      expect(found.adapterName).toMatch(/swiftshader/i);
      expect(found.software).toBe(true);
    },
    LIMIT_MS,
  );
});

// Where Deno or Mesa's lavapipe is not installed there is no second compiler to ask.
describe.runIf(findDeno())("webgpu in Deno (naga, lavapipe) agrees with the oracle", () => {
  it.each(Object.keys(GROUPS) as Checks.Group[])(
    "on %s",
    async (group) => {
      const found = JSON.parse(await runInDeno(code, [GOLDEN, group]))[group] as Checks.Found;
      expect(found.failures).toEqual([]);
      expect(found.checks).toBeGreaterThanOrEqual(GROUPS[group]);
      expect(found.adapterName).toMatch(/llvmpipe/i);
      expect(found.software).toBe(true);
    },
    LIMIT_MS,
  );
});
