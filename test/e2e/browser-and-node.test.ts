// A browser tab on WebGPU and a Node volunteer on WASM train the same steps of one run.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunState, VolunteerRow } from "@swarmvit/shared/run";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import {
  joinUrl,
  killAll,
  readSteps,
  startSwarmvit,
  TINY,
  writeTinyFolder,
} from "../support/processes.ts";

let root: string;
let browser: Browser;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "swarmvit-tab-"));
  browser = await launchBrowser();
});
afterAll(async () => {
  await browser?.close();
  await killAll();
  rmSync(root, { recursive: true, force: true });
});

const SHARED_STEPS = 5;

test("a Chromium tab on webgpu and a Node volunteer both give accepted gradients to the same steps", async () => {
  const data = writeTinyFolder(join(root, "data"));
  const coordinator = startSwarmvit([
    "train",
    ...["--data", data, "--runs-dir", join(root, "runs"), "--name", "shared"],
    ...TINY,
    // Units enough that the slower one has a share of each step as well.
    ...["--batch-size", "64"],
    ...["--epochs", "200", "--eval-every", "100000", "--min-workers", "2"],
  ]);
  const url = await joinUrl(coordinator);
  const page = await browser.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto(new URL("/?backend=webgpu&autostart", url).href);
  // Gentle, so that the software GPU has a share in each step.
  startSwarmvit(["work", url, "--backend", "wasm", "--name", "node", "--throttle", "10"]);

  const runDirectory = join(root, "runs", "shared");
  const state = async () => (await (await fetch(new URL("/api/run", url))).json()) as RunState;
  const sharedSteps = () => readSteps(runDirectory).filter(({ workers }) => workers === 2).length;
  await expect.poll(state, { timeout: 60_000 }).toMatchObject({ phase: "training" });
  await expect
    .poll(sharedSteps, { timeout: 150_000, interval: 500 })
    .toBeGreaterThanOrEqual(SHARED_STEPS);

  const { volunteers, refusals } = await state();
  const by = (executor: string) =>
    volunteers.find((row) => row.executor === executor) as VolunteerRow;
  expect(volunteers).toHaveLength(2);
  expect(by("webgpu").device).toMatch(/webgpu/i);
  expect(by("webgpu").accepted).toBeGreaterThanOrEqual(SHARED_STEPS);
  expect(by("wasm").accepted).toBeGreaterThanOrEqual(SHARED_STEPS);
  // Whoever is backed up at a step's end may come second; nothing else is refused.
  const { DUPLICATE, STALE, ...wrong } = refusals;
  expect(wrong).toEqual({});
  expect(errors).toEqual([]);
}, 240_000);
