import { trainingGraph } from "@swarmvit/worker/engine/mobilevit";
import { plan } from "@swarmvit/worker/engine/plan";
import { openDevice } from "@swarmvit/worker/engine/webgpu/device";
import { fuseAdditions } from "@swarmvit/worker/engine/webgpu/fuse";
import { SOFTWARE_KERNELS } from "@swarmvit/worker/engine/webgpu/kernel-options";
import { lower } from "@swarmvit/worker/engine/webgpu/lower";
import { createPipelines } from "@swarmvit/worker/engine/webgpu/pipelines";
export async function measure(settings: any) {
  const t0 = performance.now();
  const { device } = await openDevice();
  const t1 = performance.now();
  const config = { variant: settings.variant ?? "xxs", classes: 1000, dropout: 0.05, headDropout: 0.1, smoothing: 0.1 } as const;
  const s = settings.size ?? 64;
  const { graph } = trainingGraph(config, s, s, 8);
  const p = plan(fuseAdditions(graph), { buffers: 2, apart: true });
  const opts = { ...SOFTWARE_KERNELS, ...settings.options };
  const l = lower(p, opts);
  const t2 = performance.now();
  const ks = new Map(l.dispatches.map((d) => [d.kernel.key, d.kernel]));
  const pipelines = createPipelines(device);
  const rows: any[] = [];
  if (settings.sequential !== false) for (const [key, k] of ks) {
    const a = performance.now();
    await pipelines.prepare([k]);
    rows.push([key, performance.now() - a, k.code.length, k.code.split("\n").length]);
  } else {
    await pipelines.prepare(ks.values());
  }
  const t3 = performance.now();
  rows.sort((a, b) => b[1] - a[1]);
  return { open: t1 - t0, lower: t2 - t1, compile: t3 - t2, n: ks.size, rows };
}
const D = (globalThis as any).Deno;
if (D) console.log(JSON.stringify(await measure(JSON.parse(D.args[0]))));
