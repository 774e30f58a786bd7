// CPU time of Chromium's gpu process: compile only, and units
import { fileURLToPath } from "node:url";
import { readdirSync, readFileSync } from "node:fs";
import { launchBrowser, servePage } from "../test/support/browser.ts";
import { bundle } from "../test/support/bundle.ts";
const settings = JSON.parse(process.argv[2] ?? "{}");
const page = (name: string) => [`/${name}.html`, { type: "text/html", body: `<!doctype html><script type="module">import { measure } from "/${name}.js"; globalThis.measure = measure;</script>` }] as const;
const js = async (name: string, f: string) => [`/${name}.js`, { type: "text/javascript", body: await bundle(fileURLToPath(new URL(f, import.meta.url))) }] as const;
const server = await servePage(new Map([page("compile"), page("unit"), await js("compile", "./compile-device.ts"), await js("unit", "../bench/engine-webgpu-device.ts")]));
const browser = await launchBrowser();
function gpuPid(): number {
  for (const p of readdirSync("/proc")) if (/^\d+$/.test(p)) try { const c = readFileSync(`/proc/${p}/cmdline`, "utf8"); if (c.includes("--type=gpu-process") && mine(Number(p))) return Number(p); } catch {}
  throw new Error("no gpu process");
}
function mine(pid: number): boolean { for (let p = pid; p > 1;) { if (p === process.pid) return true; p = Number(readFileSync(`/proc/${p}/stat`, "utf8").split(") ")[1].split(" ")[1]); } return false; }
const cpu = (pid: number) => { const f = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" "); return (Number(f[11]) + Number(f[12])) * 10; };
const tab = await browser.newPage();
const go = async (name: string, arg: any) => {
  await tab.goto(server.url + name + ".html"); await tab.waitForFunction("globalThis.measure");
  const pid = gpuPid(); const a = cpu(pid); const r: any = await tab.evaluate(`measure(${JSON.stringify(arg)})`); return { r, cpu: cpu(pid) - a };
};
const c = await go("compile", { ...settings, sequential: settings.rows ? undefined : false });
const w = { variant: settings.variant ?? "xxs", size: settings.size ?? 64, batch: 8, kernels: false, options: settings.options ?? {} };
const u1 = await go("unit", { ...w, steps: 1 });
const u2 = await go("unit", { ...w, steps: 7 });
await browser.close(); await server.close();
console.log(JSON.stringify(settings.options ?? {}), `compile cpu ${c.cpu} wall ${c.r.compile.toFixed(0)}; unit cpu ${((u2.cpu - u1.cpu) / 6).toFixed(0)} wall ${u2.r.ms.toFixed(0)}; firstMs cold ${u1.r.firstMs.toFixed(0)} pipelines ${u2.r.pipelines} dispatches ${u2.r.dispatches}`);
if (settings.rows) for (const [k, ms, len, lines] of c.r.rows) console.log(ms.toFixed(0).padStart(6), String(len).padStart(6), String(lines).padStart(5), k);
