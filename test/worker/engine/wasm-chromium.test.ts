import { fileURLToPath } from "node:url";
import { build } from "vite";
import { expect, it } from "vitest";
import { launchBrowser, type PageFile, servePage } from "../../support/browser.ts";
import { readGolden } from "../../support/golden-files.ts";
import { GOLDEN_HASH } from "./wasm-golden.ts";

const GOLDEN = ["cls_xxs_4x3x64x64.safetensors", "manifest_xxs.json"];
const PAGE = `<!doctype html><script type="module">
globalThis.hashes = (threads) => new Promise((resolve, reject) => {
  const worker = new Worker("/thread.js", { type: "module" });
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = (event) => reject(new Error(event.message));
  worker.postMessage(threads);
});
</script>`;

/** The worker with the kernels, the threads' script and all else it asks for, by path. */
async function builtFiles(): Promise<Map<string, PageFile>> {
  const built = await build({
    configFile: false,
    logLevel: "error",
    worker: { format: "es" },
    build: {
      write: false,
      assetsInlineLimit: 0,
      target: "es2022",
      rollupOptions: {
        input: { thread: fileURLToPath(new URL("./wasm-page-thread.ts", import.meta.url)) },
        output: { entryFileNames: "[name].js" },
      },
    },
  });
  if (!("output" in built)) throw new Error("vite gave no single output");
  return new Map(
    built.output.map((file) => [
      `/${file.fileName}`,
      {
        type: file.fileName.endsWith(".wasm") ? "application/wasm" : "text/javascript",
        body: file.type === "chunk" ? file.code : file.source,
      },
    ]),
  );
}

it("gives Node's bits in Chromium, with one thread and with two", async () => {
  const files = await builtFiles();
  files.set("/", { type: "text/html", body: PAGE });
  for (const name of GOLDEN)
    files.set(`/golden/${name}`, {
      type: "application/octet-stream",
      body: await readGolden(name),
    });
  const server = await servePage(files, { isolated: true });
  const browser = await launchBrowser();
  try {
    const page = await browser.newPage();
    await page.goto(server.url);
    for (const threads of [1, 2])
      expect(await page.evaluate(`hashes(${threads})`), `${threads} threads`).toEqual([
        GOLDEN_HASH,
        GOLDEN_HASH,
      ]);
  } finally {
    await browser.close();
    await server.close();
  }
});
