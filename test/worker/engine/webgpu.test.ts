import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundle } from "../../support/bundle.ts";
import { type ChecksPage, openChecksPage } from "../../support/checks-page.ts";
import { findDeno, runInDeno } from "../../support/deno.ts";
import type * as Checks from "./webgpu-checks.ts";

const GOLDEN = fileURLToPath(new URL("../../golden", import.meta.url));
/** Fewest checks that each group makes. */
const GROUPS = {
  operations: 138,
  blocks: 60,
  activations: 160,
  networks: 4000,
  hardware: 125,
  codecs: 9,
  tuning: 3,
  loss: 3,
  memory: 4,
  growth: 4,
  nodes: 15,
  sizes: 28,
} as const;
/** For where compiling takes no seconds. */
const IN_DENO_ONLY: readonly string[] = ["tuning", "sizes"];
const LIMIT_MS = 180_000;
const ENTRY = fileURLToPath(new URL("./webgpu-checks.ts", import.meta.url));

describe("webgpu in Chromium (Tint, SwiftShader) agrees with the oracle", () => {
  let page: ChecksPage;
  beforeAll(async () => {
    page = await openChecksPage(ENTRY);
  });
  afterAll(() => page.close());

  it.each((Object.keys(GROUPS) as Checks.Group[]).filter((group) => !IN_DENO_ONLY.includes(group)))(
    "on %s",
    async (group) => {
      const found = (await page.run(group)) as Checks.Found;
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
  let code = "";
  beforeAll(async () => {
    code = await bundle(ENTRY);
  });

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
