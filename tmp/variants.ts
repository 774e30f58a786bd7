import { fileURLToPath } from "node:url";
import { launchBrowser, servePage } from "../test/support/browser.ts";
import { bundle } from "../test/support/bundle.ts";
import { runInDeno } from "../test/support/deno.ts";
const settings = JSON.parse(process.argv[3] ?? "{}");
const code = await bundle(fileURLToPath(new URL("./variants-device.ts", import.meta.url)));
let r: any;
if (process.argv[2] === "chromium") {
  const server = await servePage(new Map([["/", { type: "text/html", body: `<!doctype html><script type="module">import { measure } from "/bench.js"; globalThis.measure = measure;</script>` }], ["/bench.js", { type: "text/javascript", body: code }]]));
  const browser = await launchBrowser();
  const tab = await browser.newPage(); await tab.goto(server.url);
  await tab.waitForFunction("globalThis.measure");
  r = await tab.evaluate(`measure(${JSON.stringify(settings)})`);
  await browser.close(); await server.close();
} else { process.env.MESA_SHADER_CACHE_DISABLE = "1"; r = JSON.parse(await runInDeno(code, [JSON.stringify(settings)])); }
console.log(`open ${r.open.toFixed(0)} lower ${r.lower.toFixed(0)} compile ${r.compile.toFixed(0)} n ${r.n}`);
for (const [k, ms, len, lines] of r.rows) console.log(ms.toFixed(0).padStart(6), String(len).padStart(6), String(lines).padStart(5), k);
