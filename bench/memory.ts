/** What a unit takes of a process's memory on an own executor, beside what its plan says. */

import { parseArgs } from "node:util";
import { VARIANTS, type VariantName } from "@swarmvit/shared/variants";
import { modelOf, openRounds, type UnitSize } from "@swarmvit/worker/bench/unit";
import { createWasmExecutor } from "@swarmvit/worker/engine/wasm/executor";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import type { ProcessMemory } from "./peers/peer.ts";

const HELP = `usage: npm run bench -- memory [flags]

Memory of one unit: the plan (weights, values, parts), and the most that the whole process held:
Node or Deno, the batch and the gradient vectors included. One size a run, because a process never
gives back what it once held. On webgpu the process is Deno with lavapipe, so that the device's
memory is the process's.

  --executor NAME wasm or webgpu (default wasm)
  --variant NAME  xxs, xs or s (default s)
  --size N        height and width (default 256)
  --batch N       (default 8)
  --units N       (default 3)`;

/** Measures and prints. */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      executor: { type: "string", default: "wasm" },
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
  const held = HOLDERS[values.executor];
  if (!held) throw new Error(`--executor takes wasm and webgpu (got ${values.executor})`);
  const { planned, before, most } = await held(unit, units);
  const part = (bytes: number) => `${(bytes / planned).toFixed(2)} times the plan`;
  console.log(
    `${values.executor}, ${values.variant} ${size}x${size}, batch ${batch}, ${units} units: plan ${mebibytes(planned)}; ` +
      `process ${mebibytes(most)} at most (${part(most)}), ` +
      `${mebibytes(most - before)} more than before (${part(most - before)})`,
  );
}

const HOLDERS: Readonly<Record<string, (unit: UnitSize, units: number) => Promise<Held>>> = {
  wasm: inWasm,
  webgpu: inDeno,
};

interface Held extends ProcessMemory {
  readonly planned: number;
}

async function inWasm(unit: UnitSize, units: number): Promise<Held> {
  const before = process.memoryUsage().rss;
  const executor = await createWasmExecutor(modelOf(unit), { loadModule: loadModuleFromDisk });
  const rounds = await openRounds(executor, unit, performance.now());
  for (let i = 1; i < units; i++) await rounds.round();
  const planned = executor.plannedBytes(unit.height, unit.width, unit.batch);
  const most = process.resourceUsage().maxRSS * 1024;
  await rounds.close();
  return { planned, before, most };
}

async function inDeno(unit: UnitSize, units: number): Promise<Held> {
  // Loaded when asked for: what it imports would count for the other.
  const { peerNamed } = await import("./peers/peers.ts");
  const peer = await peerNamed("webgpu").start(unit);
  try {
    for (let i = 1; i < units; i++) await peer.round();
    const memory = await peer.memory?.();
    const planned = peer.counts.arenaBytes;
    if (!memory || !planned) throw new Error("this peer does not tell its memory");
    return { ...memory, planned };
  } finally {
    await peer.close();
  }
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
