/** What a unit takes of the process's memory on the `wasm` executor, beside what its plan says. */

import { parseArgs } from "node:util";
import { VARIANTS, type VariantName } from "@swarmvit/shared/variants";
import { modelOf, openRounds } from "@swarmvit/worker/bench/unit";
import { createWasmExecutor } from "@swarmvit/worker/engine/wasm/executor";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";

const HELP = `usage: npm run bench -- memory [flags]

Memory of one unit on the wasm executor: the plan (weights, values, parts), and the most that the
whole process held: Node, the batch and the gradient vectors included. One size a run, because a
process never gives back what it once held.

  --variant NAME  xxs, xs or s (default s)
  --size N        height and width (default 256)
  --batch N       (default 8)
  --units N       (default 3)`;

/** Measures and prints. */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      variant: { type: "string", default: "s" },
      size: { type: "string", default: "256" },
      batch: { type: "string", default: "8" },
      units: { type: "string", default: "3" },
      help: { type: "boolean" },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  if (!(values.variant in VARIANTS))
    throw new Error(`--variant takes xxs, xs or s (got ${values.variant})`);
  const [size, batch, units] = [values.size, values.batch, values.units].map(Number);
  const unit = { variant: values.variant as VariantName, height: size, width: size, batch };
  const before = process.memoryUsage().rss;
  const executor = await createWasmExecutor(modelOf(unit), { loadModule: loadModuleFromDisk });
  const rounds = await openRounds(executor, unit, performance.now());
  for (let i = 1; i < units; i++) await rounds.round();
  const planned = executor.plannedBytes(size, size, batch);
  const most = process.resourceUsage().maxRSS * 1024;
  await rounds.close();
  const part = (bytes: number) => `${(bytes / planned).toFixed(2)} times the plan`;
  console.log(
    `${values.variant} ${size}x${size}, batch ${batch}, ${units} units: plan ${mebibytes(planned)}; ` +
      `process ${mebibytes(most)} at most (${part(most)}), ` +
      `${mebibytes(most - before)} more than before (${part(most - before)})`,
  );
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
