/** The pages that compute, in a real browser, served by a real coordinator: what a person sees and can do. */

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import { type Cluster, openCluster } from "../support/cluster.ts";
import { type BuiltPages, buildPages } from "../support/pages-build.ts";

let pages: BuiltPages;
let browser: Browser;
let cluster: Cluster | undefined;

beforeAll(async () => {
  [pages, browser] = await Promise.all([buildPages(), launchBrowser()]);
}, 180_000);

afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

afterAll(async () => {
  await browser?.close();
  await pages?.remove();
});

/** A coordinator with the built pages, in the middle of a long tiny run. */
async function openRun(options: { readonly build?: string; readonly maxSteps?: number } = {}) {
  cluster = await openCluster({
    config: { maxSteps: options.maxSteps ?? 10_000, epochs: 2_000 },
    options: {
      pagesDirectory: pages.directory,
      build: options.build ?? pages.build,
      joinToken: "a-join-token",
    },
  });
  return cluster.coordinator;
}

/** Opens the page and collects what it must not do. */
async function openPage(url: string, settings: Parameters<Browser["newPage"]>[0] = {}) {
  const page = await browser.newPage(settings);
  const errors: string[] = [];
  const requests: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  page.on("request", (request) => requests.push(request.url()));
  await page.goto(url);
  return { page, errors, requests };
}

const contributions = (page: Page) =>
  page.getByRole("region", { name: "My contribution" }).locator("dd").nth(1).textContent();

test("nothing heavy before the tap; then it contributes, pauses, goes on and leaves", async () => {
  const { url, state } = await openRun();
  const { page, errors, requests } = await openPage(`${url}/#a-join-token`);
  const button = page.getByRole("button", { name: "Start contributing" });
  await button.waitFor();
  await page.getByText("mobilevit_xxs").waitFor();
  expect(requests.filter((path) => /thread|\.wasm|weights|shards/.test(path))).toEqual([]);
  expect(state().volunteers).toEqual([]);

  await page.getByLabel("Your name here").fill("Tester");
  await button.click();
  await expect.poll(() => contributions(page), { timeout: 60_000 }).not.toBe("0");
  expect(requests.some((path) => path.includes("a-join-token"))).toBe(false);
  expect(state().volunteers).toMatchObject([{ name: "Tester", executor: "wasm", refused: 0 }]);

  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("heading", { name: "Paused by you" }).waitFor();
  await expect.poll(() => page.title()).toMatch(/^Paused by you/);
  await expect.poll(() => state().volunteers[0].state).toBe("paused");
  const before = state().step;
  await page.getByRole("button", { name: "Resume" }).click();
  await expect.poll(() => state().step, { timeout: 60_000 }).toBeGreaterThan(before);

  await page.getByRole("button", { name: "Leave" }).click();
  await page.getByRole("heading", { name: "Left" }).waitFor();
  await expect.poll(() => state().volunteers.filter((row) => row.connected)).toEqual([]);
  const given = await contributions(page);
  await page.reload();
  await page.getByRole("button", { name: "Start contributing" }).click();
  await expect
    .poll(async () => Number(await contributions(page)), { timeout: 60_000 })
    .toBeGreaterThanOrEqual(Number(given));
  expect(errors).toEqual([]);
  await page.close();
});

test("a finished run says thanks", async () => {
  const { url } = await openRun({ maxSteps: 2 });
  const { page } = await openPage(`${url}/?autostart#a-join-token`);
  await page.getByRole("heading", { name: "Finished" }).waitFor({ timeout: 60_000 });
  await page.close();
});

test("a wrong link says whom to ask, and a page of another build reloads once", async () => {
  const coordinator = await openRun();
  const wrong = await openPage(`${coordinator.url}/?autostart#wrong`);
  await wrong.page.getByText("Ask the host for a new link").waitFor();
  await wrong.page.close();
  await cluster?.close();

  const other = await openRun({ build: "another-build" });
  const stale = await openPage(`${other.url}/?autostart#a-join-token`);
  await stale.page.getByText("are of different versions").waitFor();
  const loads = stale.requests.filter((path) => new URL(path).pathname === "/");
  expect(loads).toHaveLength(2);
  await stale.page.close();
});

test.each(["light", "dark"] as const)("is usable on the smallest phone (%s)", async (scheme) => {
  const { url } = await openRun();
  const { page } = await openPage(`${url}/#a-join-token`, {
    viewport: { width: 320, height: 640 },
    colorScheme: scheme,
    bypassCSP: true, // for axe, which is injected below
  });
  await page.getByText("mobilevit_xxs").waitFor();
  expect(await flaws(page)).toEqual([]);
  await page.getByRole("button", { name: "Start contributing" }).click();
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await page.getByText("Invite others").click();
  expect(await flaws(page)).toEqual([]);
  await page.close();
});

test("the bench page measures, explains, can be cancelled, and gives its rows as JSON", async () => {
  const { url } = await openRun();
  const { page, errors } = await openPage(`${url}/bench`, {
    viewport: { width: 320, height: 640 },
    bypassCSP: true, // for axe
  });
  const measure = page.getByRole("button", { name: /^Measure/ });
  await page.getByLabel("Images").selectOption("2");
  // Six units of TF.js would only take time here.
  await page.getByLabel("tfjs-wasm").uncheck();
  await page.getByText(/GPU: .*, a software GPU/).waitFor();
  expect(await page.getByLabel("webgpu", { exact: true }).isChecked()).toBe(true);
  expect(await page.getByLabel(/tfjs-webgpu/).isChecked()).toBe(false);
  await page.getByLabel("webgpu", { exact: true }).uncheck();
  expect(await flaws(page)).toEqual([]);

  await measure.click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await measure.waitFor();
  await measure.click();
  await page.getByText("Operations of wasm", { exact: true }).waitFor({ timeout: 60_000 });
  const downloading = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download as JSON" }).click();
  const rows = JSON.parse(await readFile(await (await downloading).path(), "utf8"));
  expect(rows).toMatchObject([
    { executor: "wasm", variant: "xxs", height: 64, width: 64, batch: 2, dispatches: null },
  ]);
  expect(rows[0].ms).toBeGreaterThan(0);
  expect(rows[0].imagesPerSecond).toBeCloseTo(2000 / rows[0].ms, 6);
  await page.getByText("Operations of wasm", { exact: true }).click();
  await page.getByRole("cell", { name: "batchNormGrad" }).waitFor();
  expect(await flaws(page)).toEqual([]);
  expect(errors).toEqual([]);
  await page.close();
});

/** Overflow, controls too small for a thumb, and what axe finds serious. */
async function flaws(page: Page): Promise<string[]> {
  const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
  await page.addScriptTag({ path: axe });
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: typeof import("axe-core") };
    const found = (await axe.run()).violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target).join(", ")}`);
    if (document.documentElement.scrollWidth > innerWidth) found.push("scrolls sideways");
    for (const control of document.querySelectorAll("button, input, summary, a.button"))
      if (control.getBoundingClientRect().height < 44) found.push(`small: ${control.outerHTML}`);
    return found;
  });
}
