/**
 * Peers side by side on one unit, in interleaved rounds: loss and all gradients.
 *
 *   npx tsx bench/engine-peers.ts [variant] [size] [batch] [--rounds=8] [--peers=wasm,torch,…]
 *
 * Prints best and median milliseconds of each peer and how many times faster the first peer is. See
 * peers/peers.ts for the names and for where peers that are no dependency are looked for.
 */

import { parseArgs } from "node:util";
import type { VariantName } from "@swarmvit/shared/variants";
import { PeerMissing, type RunningPeer, type UnitSize } from "./peers/peer.ts";
import { peerNamed } from "./peers/peers.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "8" },
    peers: {
      type: "string",
      default: "wasm,wasm-2-threads,wasm-relaxed,torch,tfjs-wasm,jax-js-wasm",
    },
  },
});
const [variant = "xxs", size = "64", batch = "32"] = positionals;
const unit: UnitSize = {
  variant: variant as VariantName,
  size: Number(size),
  batch: Number(batch),
};

interface Row {
  readonly name: string;
  readonly peer: RunningPeer;
  readonly times: number[];
}

const rows: Row[] = [];
for (const name of values.peers.split(",")) {
  try {
    rows.push({ name, peer: await peerNamed(name).start(unit), times: [] });
  } catch (error) {
    if (!(error instanceof PeerMissing)) throw error;
    console.error(`${name} is left out: ${error.message}`);
  }
}
for (let round = 0; round < Number(values.rounds); round++)
  for (const { peer, times } of rows) times.push(await peer.round());

console.log(`${variant} ${size}x${size}, batch ${batch}; ${values.rounds} interleaved rounds`);
const [first] = rows;
for (const { name, peer, times } of rows) {
  const best = Math.min(...times);
  console.log(
    [
      name.padEnd(16),
      `best ${best.toFixed(1).padStart(8)} ms`,
      `median ${median(times).toFixed(1).padStart(8)} ms`,
      `${((unit.batch / best) * 1000).toFixed(1).padStart(7)} images/s`,
      `${(best / Math.min(...first.times)).toFixed(2).padStart(6)} times ${first.name} (median ${(median(times) / median(first.times)).toFixed(2)})`,
      `first ${peer.firstMs.toFixed(0)} ms`,
      peer.description,
    ].join("  "),
  );
}
for (const { peer } of rows) await peer.close();

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
}
