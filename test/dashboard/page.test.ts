import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import { buildDashboard } from "../support/dashboard-build.ts";
import {
  type DashboardServer,
  HOST_TOKEN,
  openDashboardServer,
} from "../support/dashboard-server.ts";

let build: Awaited<ReturnType<typeof buildDashboard>>;
let browser: Browser;
let server: DashboardServer | undefined;

beforeAll(async () => {
  [build, browser] = await Promise.all([
    buildDashboard(),
    launchBrowser(["--disable-accelerated-2d-canvas"]),
  ]);
}, 120_000);

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
  await server?.close();
  server = undefined;
});

afterAll(async () => {
  await browser?.close();
  await build?.remove();
});

async function openPage(
  { url }: DashboardServer,
  options: BrowserContextOptions & { fragment?: string } = {},
): Promise<{ page: Page; problems: string[]; requests: string[] }> {
  const { fragment = "", ...context } = options;
  const page = await (await browser.newContext(context)).newPage();
  page.setDefaultTimeout(20_000);
  const problems: string[] = [];
  const requests: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("request", (request) => requests.push(request.url()));
  await page.goto(url + fragment);
  return { page, problems, requests };
}

/** The large number of a tile, e.g. "Step". */
const tile = (page: Page, label: string) =>
  page.locator(".tile", { has: page.locator(`.label:text-is("${label}")`) }).locator(".value");

/** Waits until an element's text is or contains something. */
const reads = (page: Page, selector: string, text: string) =>
  page.locator(selector, { hasText: text }).first().waitFor();

const lossSummary = (steps: string) => `over ${steps} steps`;

describe("the dashboard's page", { timeout: 120_000 }, () => {
  test("shows the run, follows it, and is complete after a reload", async () => {
    server = await openDashboardServer(build.folder, { steps: 812 });
    const { page, problems, requests } = await openPage(server);
    await reads(page, ".live", "live");
    expect(await tile(page, "Step").textContent()).toContain("812");
    expect(await tile(page, "Volunteers").textContent()).toBe("5");
    expect(await page.locator(".host").count()).toBe(0);
    await expect.poll(() => page.title()).toBe("▶ 52 % Training – run-7");
    await reads(page, ".chart .summary", lossSummary("812"));
    expect(await page.locator(".chart canvas").count()).toBe(5);
    expect(await page.locator(".histogram tbody tr").count()).toBe(5);
    expect(await page.locator(".volunteers tbody tr").count()).toBe(6);
    expect(await page.locator(".standing-by").count()).toBe(0);
    expect(await page.locator(".events li").count()).toBeGreaterThan(5);

    server.commit();
    await reads(page, ".chart .summary", lossSummary("813"));
    await reads(page, ".tile .value", "813");
    server.change({ phase: "evaluating" });
    await reads(page, ".pill", "Evaluating");
    server.change({ config: { ...server.state().config, "batch-size": 32 } });
    await reads(page, ".standing-by", "has 2 units of work, so 2 volunteers must stand by");

    await page.reload();
    await reads(page, ".chart .summary", lossSummary("813"));
    expect(problems).toEqual([]);
    expect(requests.filter((url) => /tfjs|tensorflow|zod/i.test(url))).toEqual([]);
  });

  test("notices a record that it missed and asks for it", async () => {
    server = await openDashboardServer(build.folder, { steps: 20 });
    const { page } = await openPage(server);
    await reads(page, ".live", "live");
    await reads(page, ".chart .summary", lossSummary("20"));
    server.commit({ silent: true });
    server.commit({ silent: true });
    server.commit();
    await reads(page, ".chart .summary", lossSummary("23"));
  });

  test("says that it is disconnected, keeps the last state, and catches up by itself", async () => {
    server = await openDashboardServer(build.folder, { steps: 30 });
    const { page } = await openPage(server);
    await reads(page, ".live", "live");
    server.interrupt();
    await reads(page, ".live", "disconnected, showing last state");
    await expect.poll(() => page.title()).toBe("✕ Disconnected – run-7");
    expect(await tile(page, "Step").textContent()).toContain("30");
    server.commit();
    server.restore();
    await reads(page, ".chart .summary", lossSummary("31"));
    await reads(page, ".live", "live ●");
  });

  test("forgets the curves of another run behind the same link", async () => {
    server = await openDashboardServer(build.folder, { steps: 30 });
    const { page } = await openPage(server);
    await reads(page, ".chart .summary", lossSummary("30"));
    await reads(page, ".live", "live");
    await page.route("**/api/history*", (route) =>
      route.fulfill({ json: { cursor: 0, records: [] } }),
    );
    server.change({ id: "ffffffffffffffff", step: 0, name: "run-8" });
    await reads(page, ".empty", "The curves begin with the first step");
  });

  test("invites with a large code until somebody is there, and explains what is not there yet", async () => {
    server = await openDashboardServer(build.folder, { steps: 0, volunteers: 0 });
    server.change({ joinUrl: "https://192.168.1.20:8080/#t=secret" });
    const { page, problems } = await openPage(server);
    await page.locator(".invitation .qr").waitFor();
    expect(await page.locator(".join a").getAttribute("href")).toBe(
      "https://192.168.1.20:8080/#t=secret",
    );
    await reads(page, ".banner", "Waiting for 1 more tab");
    await reads(page, ".empty", "Nobody yet");
    await reads(page, ".live", "live");
    const { volunteers } = await (async () => {
      const other = await openDashboardServer(build.folder, { steps: 1 });
      const state = other.state();
      await other.close();
      return state;
    })();
    server.change({ volunteers });
    await page.locator(".invitation.small").waitFor();
    expect(await page.locator(".qr").count()).toBe(0);
    await page.getByRole("button", { name: "Show QR" }).click();
    await page.locator(".qr").waitFor();
    expect(problems).toEqual([]);
  });

  test("says so when nobody answers", async () => {
    server = await openDashboardServer(build.folder, { steps: 5 });
    const page = await (await browser.newContext()).newPage();
    await page.route("**/api/**", (route) => route.abort());
    await page.route("**/socket.io/**", (route) => route.abort());
    await page.goto(server.url);
    await reads(page, "h1", "The coordinator does not answer");
  });

  test("lets the host act only with the token, and only after a question", async () => {
    server = await openDashboardServer(build.folder, { steps: 5 });
    const { page } = await openPage(server, { fragment: `#host=${HOST_TOKEN}` });
    await reads(page, ".live", "live");
    await page.locator(".host").getByRole("button", { name: "Pause" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
    expect(server.controls).toEqual([]);
    await page.locator(".host").getByRole("button", { name: "Pause" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Pause" }).click();
    await reads(page, ".host", "Pause: done.");
    expect(server.controls).toEqual([{ token: HOST_TOKEN, action: "pause" }]);

    const guesser = await openPage(server, { fragment: "#host=wrong" });
    await reads(guesser.page, ".live", "live");
    await guesser.page.locator(".host").getByRole("button", { name: "Save now" }).click();
    await guesser.page.getByRole("dialog").getByRole("button", { name: "Save now" }).click();
    await reads(guesser.page, ".host", "This is not the host's link");
  });

  test("remembers smoothing, axis and colours", async () => {
    server = await openDashboardServer(build.folder, { steps: 200 });
    const { page } = await openPage(server, { colorScheme: "light" });
    await page.getByLabel("Smoothing").fill("0.9");
    await page.getByText("Epoch", { exact: true }).last().click();
    await page.getByRole("button", { name: /^Colours/ }).click();
    await page.getByRole("button", { name: /^Colours: light/ }).click();
    await page.reload();
    await reads(page, ".slider output", "0.90");
    expect(await page.getByRole("radio", { name: "Epoch" }).isChecked()).toBe(true);
    expect(await page.evaluate(() => document.documentElement.dataset.theme)).toBe("dark");
  });

  test.each([
    { width: 360, height: 740, colorScheme: "light" },
    { width: 1280, height: 900, colorScheme: "dark" },
  ] as const)("fits and is accessible at $width, $colorScheme", async (look) => {
    server = await openDashboardServer(build.folder, { steps: 400 });
    const { page } = await openPage(server, {
      viewport: { width: look.width, height: look.height },
      colorScheme: look.colorScheme,
      fragment: `#host=${HOST_TOKEN}`,
      bypassCSP: true, // for axe, which is injected below
    });
    await reads(page, ".live", "live");
    await page.getByText("Numbers", { exact: true }).click();
    const overflow = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    expect(overflow).toBe(0);
    const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
    await page.addScriptTag({ path: axe });
    const violations = await page.evaluate(async () => {
      const { axe } = globalThis as unknown as { axe: typeof import("axe-core") };
      const results = await axe.run();
      return results.violations
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target).join(", ")}`);
    });
    expect(violations).toEqual([]);
  });
});

test("the page's scripts are at most 120 kB, compressed, without engine or schema code", async () => {
  const assets = join(build.folder, "assets");
  const scripts = (await readdir(assets)).filter((name) => name.endsWith(".js"));
  const sources = await Promise.all(scripts.map((name) => readFile(join(assets, name))));
  const bytes = sources.reduce((sum, source) => sum + gzipSync(source).length, 0);
  expect(bytes).toBeGreaterThan(10_000);
  expect(bytes).toBeLessThanOrEqual(120_000);
  for (const source of sources) expect(source.toString()).not.toMatch(/ZodError|tensorflow|wgsl/i);
});
