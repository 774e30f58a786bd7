import { openTfjsRunGraph } from "@swarmvit/worker/engine/tfjs/interpreter";
import { describe, expect, it } from "vitest";
import { failures } from "../../support/allclose.ts";
import { readGolden } from "../../support/golden-files.ts";
import { checkBlocks } from "../../support/oracle-blocks.ts";
import { checkOperations } from "../../support/oracle-operations.ts";

describe.each(["cpu", "wasm"] as const)("TF.js %s agrees with the oracle", (backend) => {
  it("on every operation and its gradient", async () => {
    const checks = await checkOperations(await openTfjsRunGraph(backend), readGolden);
    expect(failures(checks)).toEqual([]);
    expect(checks.length).toBeGreaterThan(60);
  });

  it("on both kinds of blocks, even and odd maps, and all their gradients", async () => {
    const checks = await checkBlocks(await openTfjsRunGraph(backend), readGolden);
    expect(failures(checks)).toEqual([]);
    expect(checks.length).toBeGreaterThan(100);
  });
});
