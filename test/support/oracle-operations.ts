/** Every operation against the oracle's `ops.safetensors`, on whatever runs a graph. */

import type { ValueId } from "@swarmvit/worker/engine/graph";
import { createGraphBuilder, type GraphBuilder } from "@swarmvit/worker/engine/graph-builder";
import { transformerLayer } from "@swarmvit/worker/engine/mobilevit";
import type { RunGraph } from "@swarmvit/worker/engine/run-graph";
import { allClose, type Check, check } from "./allclose.ts";
import { differentiate, type LayerResult, type Torch } from "./differentiate.ts";
import { type Fixture, openFixture, type ReadGolden, toNhwc } from "./fixtures.ts";

/** Float32 against float64 references of magnitude about 1. */
const CLOSE = { absolute: 2e-6, relative: 1e-5 };

/** Forward and gradient of each operation. */
export async function checkOperations(run: RunGraph, read: ReadGolden): Promise<Check[]> {
  const f = await openFixture(read, "ops.safetensors");
  const checks: Check[] = [];
  for (let i = 0; i < 6; i++) checks.push(...(await convolution(run, f, `conv${i}`)));
  for (let i = 0; i < 8; i++) checks.push(...(await resized(run, f, `resize${i}`)));
  checks.push(
    ...(await batchNorm(run, f)),
    ...(await layerNorm(run, f)),
    ...(await transformer(run, f)),
    ...(await silu(run, f)),
    ...(await crossEntropy(run, f)),
    ...(await unfoldFold(run, f)),
  );
  return checks;
}

async function convolution(run: RunGraph, f: Fixture, key: string): Promise<Check[]> {
  const [stride, dilation, depthwise] = f.integers(`${key}.cfg`);
  const geometry = { stride: stride as 1 | 2, dilation };
  const outputs = f.shape(`${key}.w`)[0];
  const r = await differentiate(run, {
    x: imageOf(f, `${key}.x`),
    parameters: new Map([["conv.weight", torch(f, `${key}.w`)]]),
    build: (g, x) =>
      depthwise ? g.depthwise(x, "conv", geometry) : g.conv(x, "conv", outputs, geometry),
    dy: imageOf(f, `${key}.dy`).data,
  });
  return [
    allClose(`${key}.y`, r.y, imageOf(f, `${key}.y`).data, CLOSE),
    allClose(`${key}.dx`, r.dx, imageOf(f, `${key}.dx`).data, CLOSE),
    allClose(`${key}.dw`, gradient(r, "conv.weight"), f.floats(`${key}.dw`), CLOSE),
  ];
}

async function resized(run: RunGraph, f: Fixture, key: string): Promise<Check[]> {
  const [, , height, width] = f.shape(`${key}.y`);
  const r = await differentiate(run, {
    x: imageOf(f, `${key}.x`),
    parameters: new Map(),
    build: (g, x) => g.resize(x, height, width),
    dy: imageOf(f, `${key}.dy`).data,
  });
  return [
    allClose(`${key}.y`, r.y, imageOf(f, `${key}.y`).data, CLOSE),
    allClose(`${key}.dx`, r.dx, imageOf(f, `${key}.dx`).data, CLOSE),
  ];
}

async function batchNorm(run: RunGraph, f: Fixture): Promise<Check[]> {
  const parameters = new Map([
    ["bn.weight", torch(f, "bn.gamma")],
    ["bn.bias", torch(f, "bn.beta")],
    ["bn.running_mean", torch(f, "bn.running_mean0")],
    ["bn.running_var", torch(f, "bn.running_var0")],
  ]);
  const layer = {
    x: imageOf(f, "bn.x"),
    parameters,
    build: (g: GraphBuilder, x: ValueId) => g.batchNorm(x, "bn", "none"),
  };
  const train = await differentiate(run, { ...layer, dy: imageOf(f, "bn.dy").data });
  const evaluated = await differentiate(run, layer);
  return [
    allClose("bn.y_train", train.y, imageOf(f, "bn.y_train").data, CLOSE),
    allClose("bn.dx", train.dx, imageOf(f, "bn.dx").data, CLOSE),
    allClose("bn.dgamma", gradient(train, "bn.weight"), f.floats("bn.dgamma"), CLOSE),
    allClose("bn.dbeta", gradient(train, "bn.bias"), f.floats("bn.dbeta"), CLOSE),
    // The fixture's running statistics after one batch: running ← 0.9·running + 0.1·batch.
    ...runningAfter(
      train,
      "bn",
      parameters,
      f.floats("bn.running_mean1"),
      f.floats("bn.running_var1"),
    ),
    // With the running statistics from before the batch.
    allClose("bn.y_eval", evaluated.y, imageOf(f, "bn.y_eval").data, CLOSE),
  ];
}

async function layerNorm(run: RunGraph, f: Fixture): Promise<Check[]> {
  const r = await differentiate(run, {
    x: torch(f, "ln.x"),
    parameters: new Map([
      ["ln.weight", torch(f, "ln.gamma")],
      ["ln.bias", torch(f, "ln.beta")],
    ]),
    build: (g, x) => g.layerNorm(x, "ln"),
    dy: f.floats("ln.dy"),
  });
  return [
    allClose("ln.y", r.y, f.floats("ln.y"), CLOSE),
    allClose("ln.dx", r.dx, f.floats("ln.dx"), CLOSE),
    allClose("ln.dgamma", gradient(r, "ln.weight"), f.floats("ln.dgamma"), CLOSE),
    allClose("ln.dbeta", gradient(r, "ln.bias"), f.floats("ln.dbeta"), CLOSE),
  ];
}

async function transformer(run: RunGraph, f: Fixture): Promise<Check[]> {
  const names = f
    .keys()
    .filter((key) => key.startsWith("block.grad."))
    .map((key) => key.slice("block.grad.".length));
  const r = await differentiate(run, {
    x: torch(f, "block.x"),
    parameters: new Map(names.map((name) => [name, torch(f, `block.${name}`)])),
    build: (g, x) => transformerLayer(g, x, "", 0),
    dy: f.floats("block.dy"),
  });
  return [
    allClose("block.y", r.y, f.floats("block.y"), CLOSE),
    allClose("block.dx", r.dx, f.floats("block.dx"), CLOSE),
    ...names.map((name) =>
      allClose(`block.grad.${name}`, gradient(r, name), f.floats(`block.grad.${name}`), CLOSE),
    ),
  ];
}

async function silu(run: RunGraph, f: Fixture): Promise<Check[]> {
  const x = f.floats("silu.x");
  const r = await differentiate(run, {
    x: { shape: [1, x.length], data: x },
    parameters: new Map(),
    build: (g, input) => g.silu(input),
    dy: new Float32Array(x.length).fill(1),
  });
  return [
    allClose("silu.y", r.y, f.floats("silu.y"), CLOSE),
    allClose("silu.dx", r.dx, f.floats("silu.dx"), CLOSE),
  ];
}

async function crossEntropy(run: RunGraph, f: Fixture): Promise<Check[]> {
  const [samples, classes] = f.shape("ce.logits");
  const labels = f.integers("ce.labels");
  const logits = f.floats("ce.logits");
  const loss = async (smoothing: number) => {
    const g = createGraphBuilder(true);
    const input = g.input("logits", [samples, classes]);
    const label = g.labels(samples);
    const { report, dlogits } = g.crossEntropy(input, label, smoothing);
    const inputs = new Map([
      [input, logits],
      [label, Float32Array.from(labels)],
    ]);
    const results = await run(g.finish([dlogits as ValueId]), inputs);
    return {
      report: results.get(report) ?? new Float32Array(3),
      dlogits: results.get(dlogits as ValueId) ?? new Float32Array(),
    };
  };
  const smooth = await loss(0.1);
  const plain = await loss(0);
  // The fixture's loss is the mean over samples, the engine's the sum.
  const mean = (x: Float32Array) => x.map((value) => value / samples);
  const ranks = [...labels].map((label, b) => {
    const row = logits.subarray(b * classes, (b + 1) * classes);
    return row.filter((value) => value > row[label]).length;
  });
  const within = (n: number) => ranks.filter((rank) => rank < n).length;
  return [
    allClose("ce.loss_ls", mean(smooth.report.slice(0, 1)), [f.scalar("ce.loss_ls0.1")], CLOSE),
    allClose("ce.loss_plain", mean(plain.report.slice(0, 1)), [f.scalar("ce.loss_plain")], CLOSE),
    allClose("ce.dlogits", mean(smooth.dlogits), f.floats("ce.dlogits_ls0.1"), CLOSE),
    check("ce.top1", Math.abs(smooth.report[1] - within(1)), 0),
    check("ce.top5", Math.abs(smooth.report[2] - within(5)), 0),
  ];
}

async function unfoldFold(run: RunGraph, f: Fixture): Promise<Check[]> {
  const x = imageOf(f, "unfold.x");
  const [, height, width] = x.shape;
  const unfolded = await differentiate(run, {
    x,
    parameters: new Map(),
    build: (g, input) => g.unfold(input),
    dy: f.floats("unfold.patches"), // fold of the patches is x again
  });
  const folded = await differentiate(run, {
    x: torch(f, "unfold.patches"),
    parameters: new Map(),
    build: (g, input) => g.fold(input, height, width),
    dy: x.data,
  });
  return [
    allClose("unfold.y", unfolded.y, f.floats("unfold.patches"), {}),
    allClose("unfold.dx", unfolded.dx, x.data, {}),
    allClose("fold.y", folded.y, x.data, {}),
    allClose("fold.dx", folded.dx, f.floats("unfold.patches"), {}),
  ];
}

/** Checks running ← 0.9·running + 0.1·(batch mean, unbiased batch variance). */
export function runningAfter(
  result: LayerResult,
  name: string,
  parameters: ReadonlyMap<string, Torch>,
  mean: Float32Array,
  variance: Float32Array,
): Check[] {
  const batch = result.statistics.get(name);
  const blend = (before: string, now: Float32Array | undefined) =>
    parameters
      .get(`${name}.${before}`)
      ?.data.map((r, i) => 0.9 * r + 0.1 * (now?.[i] ?? Number.NaN)) ?? [];
  return [
    allClose(`${name}.running_mean`, blend("running_mean", batch?.mean), mean, CLOSE),
    allClose(`${name}.running_var`, blend("running_var", batch?.variance), variance, CLOSE),
  ];
}

function gradient(result: LayerResult, name: string): Float32Array {
  return result.gradients.get(name) ?? new Float32Array();
}

function torch(f: Fixture, key: string): Torch {
  return { shape: f.shape(key), data: f.floats(key) };
}

/** A stored NCHW image as the engine's NHWC. */
function imageOf(f: Fixture, key: string): Torch {
  const [b, c, h, w] = f.shape(key);
  return { shape: [b, h, w, c], data: toNhwc(f.floats(key), [b, c, h, w]) };
}
