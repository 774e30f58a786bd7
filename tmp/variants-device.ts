import { openDevice } from "@swarmvit/worker/engine/webgpu/device";
import { createPipelines } from "@swarmvit/worker/engine/webgpu/pipelines";
import { productKernel } from "@swarmvit/worker/engine/webgpu/kernels/product";
export async function measure(settings: any) {
  const { device } = await openDevice();
  const base = { form: "dot", gather: "none", bias: false, tileM: 8, tileN: 8, reduce: 4, columns: 4, workgroup: 32 } as const;
  const k = productKernel(base);
  const vs: Record<string, string> = { base: k.code };
  // no store conditions
  vs.nocond = k.code.replace(/if \(m0 \+ \d+u < p.M\) \{ (.*?); \}/g, "$1;").replace(/if \(n0 \+ \d+u < p.N\) \{/g, "{");
  // only one store
  let seen = 0;
  vs.onestore = k.code.replace(/if \(m0 \+ \d+u < p.M\) \{ y\[.*?\] = (.*?); \}/g, (_, v) => `acc += ${v};`).replace("for (var k = 0u", "var acc = vec4<f32>(0.0);\nfor (var k = 0u").replace(/\}\n?$/, "y[id] = acc;\n}");
  // loads from one address var
  vs.noload = k.code.replace(/let (a\d|b\d) = [ab]\[(r.\d) \+ k\];/g, "let $1 = vec4<f32>(f32($2 + k));");
  vs.noloadonestore = vs.onestore.replace(/let (a\d|b\d) = [ab]\[(r.\d) \+ k\];/g, "let $1 = vec4<f32>(f32($2 + k));");
  vs.dot = k.code.replace(/c(\d)_(\d) = fma.*;/g, "c$1_$2 += dot(a$1, b$2);");
  vs.vecacc = k.code;
  const mad = k.code.replace(/fma\((a\d\.\w), (b\d\.\w), /g, "($1 * $2 + ");
  vs.mad = mad;
  const rows: any[] = [];
  for (let round = 0; round < 2; round++) for (const [key, code] of Object.entries(vs)) {
    const p = createPipelines(device);
    const a = performance.now();
    await p.prepare([{ ...k, code: code + `\n// ${round}`, key }]);
    rows.push([key, performance.now() - a, code.length, code.split("\n").length]);
  }
  return { open: 0, lower: 0, compile: 0, n: 0, rows };
}
