/**
 * What one unit costs on the `webgpu` executor, and where it goes.
 *
 *   npx tsx bench/engine-webgpu.ts [variant] [size] [batch] [--chromium] [--kernels] [--steps=N]
 *                                  [--options={"tileM":16}] [--json]
 *
 * Runs in Deno on lavapipe, or with --chromium in an installed browser on SwiftShader. The first
 * step includes compiling; Mesa keeps compiled kernels on disk (MESA_SHADER_CACHE_DISABLE=1: not).
 */

import { fileURLToPath } from "node:url";
import type { VariantName } from "@swarmvit/shared/variants";
import { launchBrowser, servePage } from "../test/support/browser.ts";
import { bundle } from "../test/support/bundle.ts";
import { runInDeno } from "../test/support/deno.ts";
import type { Row, Settings } from "./engine-webgpu-device.ts";

const args = process.argv.slice(2);
const option = (name: string) =>
  args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
const [variant = "xxs", size = "64", batch = "8"] = args.filter((arg) => !arg.startsWith("--"));
const settings: Settings = {
  variant: variant as VariantName,
  size: Number(size),
  batch: Number(batch),
  steps: Number(option("steps") ?? 8),
  kernels: args.includes("--kernels"),
  options: JSON.parse(option("options") ?? "{}"),
};

const code = await bundle(fileURLToPath(new URL("./engine-webgpu-device.ts", import.meta.url)));
const row = args.includes("--chromium") ? await inChromium() : await inDeno();
if (args.includes("--json")) console.log(JSON.stringify(row));
else print(row);

async function inDeno(): Promise<Row> {
  return JSON.parse(await runInDeno(code, [JSON.stringify(settings)])) as Row;
}

async function inChromium(): Promise<Row> {
  const page = `<!doctype html><script type="module">
import { measure } from "/bench.js";
globalThis.measure = measure;
</script>`;
  const server = await servePage(
    new Map([
      ["/", { type: "text/html", body: page }],
      ["/bench.js", { type: "text/javascript", body: code }],
    ]),
  );
  const browser = await launchBrowser();
  try {
    const tab = await browser.newPage();
    await tab.goto(server.url);
    return (await tab.evaluate(`measure(${JSON.stringify(settings)})`)) as Row;
  } finally {
    await browser.close();
    await server.close();
  }
}

function print(r: Row): void {
  console.log(`${r.adapter}: ${r.variant} ${r.height}x${r.width}, batch ${r.batch}`);
  console.log(
    `best ${r.ms.toFixed(1)} ms, median ${r.medianMs.toFixed(1)} ms, first ${r.firstMs.toFixed(0)} ms; ${r.imagesPerSecond.toFixed(1)} images/s`,
  );
  console.log(
    `${r.dispatches} dispatches, ${r.submits} submits, ${r.pipelines} pipelines, ${(r.arenaBytes / 2 ** 20).toFixed(1)} MiB planned`,
  );
  for (const { kernel, dispatches, ms } of r.kernels)
    console.log(`${ms.toFixed(2).padStart(8)} ms ${String(dispatches).padStart(4)}  ${kernel}`);
}
