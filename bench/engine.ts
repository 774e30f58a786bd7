/** What one unit costs on every executor and peer that this machine has, in one interleaved run. */

import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { VARIANTS, type VariantName } from "@swarmvit/shared/variants";
import { profileTable } from "@swarmvit/worker/bench/profile";
import { alignTable, type Measured, type Row, rowsOf, tableOf } from "@swarmvit/worker/bench/row";
import type { UnitSize } from "@swarmvit/worker/bench/unit";
import { machineLine } from "./machine-line.ts";
import { type Peer, PeerMissing, type RunningPeer } from "./peers/peer.ts";
import { PEERS, peerNamed } from "./peers/peers.ts";

const DEFAULT =
  "wasm,wasm-2-threads,tfjs-wasm,webgpu,tfjs-webgpu,webgpu-dawn,webgpu-chromium,torch,torch-cuda,jax-js-wasm,jax-js-webgpu";

const HELP = `usage: npm run bench -- engine [flags]

Loss and all gradients of one unit, again and again: one round of each executor after the other, so
that a busy machine disturbs all alike. The best round counts.

  --executors LIST  comma-separated, of ${PEERS.map(({ name }) => name).join(", ")}
                    (default ${DEFAULT}; what is not installed is left out)
  --variants LIST   of xxs, xs, s (default xxs)
  --sizes LIST      such as 64 or 96x160 (default 64)
  --batches LIST    (default 8)
  --rounds N        (default 6)
  --no-operations   leaves out the times of each operation
  --json FILE       also writes the rows there

PEER_TORCH, PEER_PYTHON and PEER_JAX_JS say where PyTorch and jax-js are (bench/peers/peers.ts).`;

/** Measures and prints. */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    allowNegative: true,
    options: {
      executors: { type: "string", default: DEFAULT },
      variants: { type: "string", default: "xxs" },
      sizes: { type: "string", default: "64" },
      batches: { type: "string", default: "8" },
      rounds: { type: "string", default: "6" },
      operations: { type: "boolean", default: true },
      json: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const peers = values.executors.split(",").map(peerNamed);
  const rounds = atLeastOne("--rounds", values.rounds);
  const rows: Row[] = [];
  console.log(machineLine());
  for (const unit of unitsOf(values.variants, values.sizes, values.batches)) {
    const found = await measure(unit, peers, rounds, values.operations);
    rows.push(...found.rows);
    console.log(`\n${alignTable(tableOf(found.rows))}`);
    for (const text of found.profiles) console.log(`\n${text}`);
    // After each size: a long run that is interrupted leaves what it has.
    if (values.json) await writeFile(values.json, `${JSON.stringify(rows, undefined, 2)}\n`);
  }
}

/** One size: everyone starts, then computes in turn. */
async function measure(
  unit: UnitSize,
  peers: readonly Peer[],
  rounds: number,
  operations: boolean,
): Promise<{ rows: Row[]; profiles: string[] }> {
  const running: { peer: Peer; at: RunningPeer; times: number[] }[] = [];
  const words = `${unit.variant} ${unit.height}x${unit.width} batch ${unit.batch}`;
  try {
    for (const peer of peers) {
      console.error(`${words}: starting ${peer.name} …`);
      try {
        running.push({ peer, at: await peer.start(unit), times: [] });
      } catch (error) {
        if (!(error instanceof PeerMissing)) throw error;
        console.error(`${peer.name} is left out: ${error.message}`);
      }
    }
    for (let round = 0; round < rounds; round++) {
      console.error(`${words}: round ${round + 1} of ${rounds} …`);
      for (const { at, times } of running) times.push(await at.round());
    }
    const measured = running.map(({ peer, at, times }): Measured => {
      const { description: adapter, firstMs, counts } = at;
      return { executor: peer.name, adapter, firstMs, counts, times, tfjs: peer.tfjs };
    });
    const profiles: string[] = [];
    for (const { peer, at } of operations ? running : []) {
      if (!at.profile) continue;
      console.error(`${words}: operations of ${peer.name} …`);
      const profile = await at.profile();
      const { gflops, gigabytesPerSecond } = profile.limits;
      profiles.push(
        `${peer.name}, ${words}; limits here: ${gflops.toFixed(1)} GFLOP/s, ${gigabytesPerSecond.toFixed(1)} GB/s\n` +
          alignTable(profileTable(profile)),
      );
    }
    return { rows: rowsOf(unit, measured), profiles };
  } finally {
    for (const { at } of running) await at.close();
  }
}

/** Every variant at every size and batch. An error says which flag is wrong. */
function unitsOf(variants: string, sizes: string, batches: string): UnitSize[] {
  return variants.split(",").flatMap((variant) => {
    if (!(variant in VARIANTS)) throw new Error(`--variants takes xxs, xs and s (got ${variant})`);
    return sizes.split(",").flatMap((size) => {
      const [height, width = height] = size.split("x").map((n) => atLeastOne("--sizes", n));
      return batches.split(",").map((batch) => ({
        variant: variant as VariantName,
        ...{ height, width, batch: atLeastOne("--batches", batch) },
      }));
    });
  });
}

function atLeastOne(flag: string, text: string): number {
  const n = Number(text);
  if (Number.isInteger(n) && n >= 1) return n;
  throw new Error(`${flag} takes whole numbers of at least 1 (got ${text})`);
}
