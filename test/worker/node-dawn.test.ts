/** WebGPU in Node where the optional package is not installed, or does not load. */

import { openDawn } from "@swarmvit/worker/node/dawn";
import { expect, test } from "vitest";

test("names the package and the command that installs it", async () => {
  const missing = "a-package-that-nobody-has-installed";
  const opening = openDawn(() => import(/* @vite-ignore */ missing));
  await expect(opening).rejects.toMatchObject({
    name: "GpuUnavailable",
    reason: "no-webgpu",
    message: expect.stringMatching(/npm install --no-save webgpu.*--backend wasm/),
  });
});

test("says why a package that is there does not load", async () => {
  const opening = openDawn(() => Promise.reject(new Error("libvulkan is of another system")));
  await expect(opening).rejects.toMatchObject({
    reason: "no-webgpu",
    message: expect.stringMatching(/libvulkan is of another system.*--backend wasm/),
  });
});
