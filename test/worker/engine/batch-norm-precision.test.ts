/**
 * How near the `wasm` kernels' batch statistics are to float64's. At 16x25 the last batch norms of a
 * network see one number an image, and what a statistic of the first layers is off by grows a
 * thousandfold until the loss. There even the rounding of products moves it: XS on 3 images and 17
 * classes has a loss of 10.535916 in float64, and each executor is up to 1.1e-4 of that above.
 */

import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import { createWasmRunGraph } from "@swarmvit/worker/engine/wasm/run-graph";
import { afterAll, beforeAll, expect, it } from "vitest";
import { failures } from "../../support/allclose.ts";
import { checkLoneNorms, checkNetworkNorms } from "../../support/batch-norm-precision.ts";

let wasm: Awaited<ReturnType<typeof createWasmRunGraph>>;
beforeAll(async () => {
  wasm = await createWasmRunGraph({ loadModule: loadModuleFromDisk });
});
afterAll(() => wasm.close());

it("normalises as float64 does, even where the first row lies far out", async () => {
  const found = await checkLoneNorms(wasm.runGraph);
  expect(found).toHaveLength(9);
  expect(failures(found)).toEqual([]);
});

it("takes the statistics of each batch norm of a network as float64 does", async () => {
  const found = await checkNetworkNorms(wasm.runGraph);
  expect(found).toHaveLength(64);
  expect(failures(found)).toEqual([]);
});
