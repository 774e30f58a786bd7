// The links that people open: https with a self-signed certificate, and http on a network, where the
// browser hides the GPU and half of its other interfaces.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunState } from "@swarmvit/shared/run";
import type { Browser } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import {
  joinUrl,
  killAll,
  readSteps,
  startSwarmvit,
  TINY,
  writeTinyFolder,
} from "../support/processes.ts";

/** A name that means this machine but is no secure context, as `http://192.168.…` is none. */
const INSECURE_HOST = "insecure.test";

let root: string;
let data: string;
let browser: Browser;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "swarmvit-links-"));
  data = writeTinyFolder(join(root, "data"));
  browser = await launchBrowser([`--host-resolver-rules=MAP ${INSECURE_HOST} 127.0.0.1`]);
});
afterEach(killAll);
afterAll(async () => {
  await browser?.close();
  rmSync(root, { recursive: true, force: true });
});

const train = (name: string, ...more: string[]) =>
  startSwarmvit(
    ["train", "--data", data, "--runs-dir", "runs", "--name", name, ...TINY, ...more],
    root,
    { HOME: root }, // where the certificate is kept
  );

test("https: a local volunteer, one that was told to trust it, and a tab; one that was not is told how", async () => {
  const coordinator = train(
    "https",
    ...["--https", "--token", "a-secret-of-the-link", "--epochs", "200", "--eval-every", "100000"],
    ...["--local-workers", "1"],
  );
  const url = await joinUrl(coordinator);
  expect(url).toMatch(/^https:\/\/127\.0\.0\.1:\d+\/#a-secret-of-the-link$/);

  const careful = startSwarmvit(["work", url]);
  expect((await careful.exited).code).toBe(1);
  expect(careful.output()).toContain("--insecure");

  startSwarmvit(["work", url, "--insecure", "--name", "trusting"]);
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.goto(url.replace("/#", "/?backend=wasm&autostart#"));
  const accepted = async (): Promise<number[]> => {
    const answer = await page.evaluate(() => fetch("/api/run").then((response) => response.json()));
    return (answer as RunState).volunteers.map((row) => row.accepted);
  };
  await expect
    .poll(async () => (await accepted()).filter((count) => count > 0).length, { timeout: 90_000 })
    .toBe(3);
  await context.close();
}, 180_000);

test("http on a network: the page says what is missing, hashes in JavaScript and trains on WASM", async () => {
  const coordinator = train("http", "--epochs", "200", "--eval-every", "100000");
  const url = (await joinUrl(coordinator)).replace("127.0.0.1", INSECURE_HOST);
  const page = await browser.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(url);
  expect(await page.evaluate("isSecureContext || 'gpu' in navigator || !!crypto.subtle")).toBe(
    false,
  );
  await page
    .getByText(/not secure/i)
    .first()
    .waitFor();
  await page.getByText("--https").first().waitFor();
  await page.getByRole("button", { name: "Start contributing" }).click();
  await expect
    .poll(() => readSteps(join(root, "runs", "http")).length, { timeout: 90_000 })
    .toBeGreaterThanOrEqual(2);
  expect(errors).toEqual([]);
  await page.close();
}, 150_000);
