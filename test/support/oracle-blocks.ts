/** Single blocks with all their gradients against the oracle's `blocks.safetensors`. */

import { invertedResidual, mobileViTBlock } from "@swarmvit/worker/engine/mobilevit";
import type { RunGraph } from "@swarmvit/worker/engine/run-graph";
import { allClose, type Check } from "./allclose.ts";
import { differentiate, type Layer } from "./differentiate.ts";
import { openFixture, type ReadGolden, toNhwc } from "./fixtures.ts";
import { runningAfter } from "./oracle-operations.ts";

const BLOCKS: Readonly<Record<string, Layer["build"]>> = {
  mv2_s1: (g, x) => invertedResidual(g, x, "", 16, 2, 1),
  mv2_s2: (g, x) => invertedResidual(g, x, "", 24, 4, 2),
  mit: (g, x) => mobileViTBlock(g, x, "", { dim: 16, depth: 2 }, 0),
  mit_odd: (g, x) => mobileViTBlock(g, x, "", { dim: 16, depth: 1 }, 0),
};

/** SPEC section 10: gradients within 1e-4 of the largest; outputs are of magnitude 1. */
const OUTPUT = { absolute: 2e-5, relative: 1e-5 };
const GRADIENT = 1e-4;

/** Training and evaluation of each block. */
export async function checkBlocks(run: RunGraph, read: ReadGolden): Promise<Check[]> {
  const f = await openFixture(read, "blocks.safetensors");
  const checks: Check[] = [];
  for (const [block, build] of Object.entries(BLOCKS)) {
    const under = (prefix: string) =>
      f
        .keys()
        .filter((key) => key.startsWith(`${block}.${prefix}.`))
        .map((key) => key.slice(block.length + prefix.length + 2));
    const image = (key: string) => toNhwc(f.floats(`${block}.${key}`), f.shape(`${block}.${key}`));
    const parameters = new Map(
      under("p").map((name) => [
        name,
        { shape: f.shape(`${block}.p.${name}`), data: f.floats(`${block}.p.${name}`) },
      ]),
    );
    const [b, c, h, w] = f.shape(`${block}.x`);
    const layer = { x: { shape: [b, h, w, c], data: image("x") }, parameters, build };
    const train = await differentiate(run, { ...layer, dy: image("dy") });
    const evaluated = await differentiate(run, layer);

    checks.push(
      allClose(`${block}.y_train`, train.y, image("y_train"), OUTPUT),
      allClose(`${block}.y_eval`, evaluated.y, image("y_eval"), OUTPUT),
      allClose(`${block}.dx`, train.dx, image("dx"), { relative: GRADIENT }),
    );
    const wanted = under("g").map((name) => ({ name, want: f.floats(`${block}.g.${name}`) }));
    const largest = Math.max(...wanted.flatMap(({ want }) => [...want].map(Math.abs)));
    for (const { name, want } of wanted)
      checks.push(
        allClose(`${block}.g.${name}`, train.gradients.get(name) ?? [], want, {
          absolute: GRADIENT * largest,
        }),
      );
    for (const key of under("after").filter((name) => name.endsWith(".running_mean"))) {
      const name = key.slice(0, -".running_mean".length);
      checks.push(
        ...runningAfter(
          train,
          name,
          parameters,
          f.floats(`${block}.after.${name}.running_mean`),
          f.floats(`${block}.after.${name}.running_var`),
        ).map((done) => ({ ...done, name: `${block}.${done.name}` })),
      );
    }
  }
  return checks;
}
