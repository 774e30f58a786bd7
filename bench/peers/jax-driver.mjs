/**
 * One unit after the other in jax-js, jitted: loss and all gradients. In Node or in Deno.
 *
 * Arguments: FOLDER DEVICE EXTENT BATCH CLASSES, where FOLDER holds mvit_jax.mjs and its packages.
 * Speaks the lines of peer-process.ts.
 */

import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [folder, device, ...sizes] = process.argv.slice(2);
const [size, batch, classes] = sizes.map(Number);
const { setup, jit } = await import(pathToFileURL(join(folder, "mvit_jax.mjs")).href);
// jax-js 0.1.25 has a wrong gradient of grouped stride-2 convolutions on WebGPU; `dwfix` avoids them
const opts = new Set(device === "webgpu" ? ["dwfix"] : []);

const begun = performance.now();
const { P, X, Y, vg } = await setup({ device, res: size, batch, classes, opts });
const step = jit((parameters, x, y) => vg(parameters, x, y));
await unit();
const firstMs = performance.now() - begun;
console.log(JSON.stringify({ description: `jax-js on ${device}`, firstMs }));
for await (const _ of createInterface({ input: process.stdin })) console.log(await unit());
process.exit();

async function unit() {
  const parameters = Object.fromEntries(Object.entries(P).map(([name, a]) => [name, a.ref]));
  const started = performance.now();
  const [loss, gradients] = step(parameters, X.ref, Y.ref);
  await loss.data();
  const ms = performance.now() - started;
  for (const gradient of Object.values(gradients)) gradient.dispose();
  return ms;
}
