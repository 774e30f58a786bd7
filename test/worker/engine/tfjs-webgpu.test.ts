import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ChecksPage, openChecksPage } from "../../support/checks-page.ts";
import type { Found, Group } from "./tfjs-webgpu-checks.ts";

/** Fewest checks that each group makes. The network takes most of two minutes on a software GPU. */
const GROUPS: readonly [Group, number][] = [
  ["operations", 65],
  ["blocks", 100],
  ["network", 1000],
];
const LIMIT_MS = 300_000;

describe("TF.js webgpu in Chromium agrees with the oracle", () => {
  let page: ChecksPage;
  beforeAll(async () => {
    page = await openChecksPage(fileURLToPath(new URL("./tfjs-webgpu-checks.ts", import.meta.url)));
  });
  afterAll(() => page.close());

  it.each(GROUPS)(
    "on %s",
    async (group, fewest) => {
      const found = (await page.run(group)) as Found;
      expect(found.failures).toEqual([]);
      expect(found.checks).toBeGreaterThanOrEqual(fewest);
      expect(found.description).toMatch(/webgpu/i);
    },
    LIMIT_MS,
  );
});
