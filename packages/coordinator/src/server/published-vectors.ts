/** The vectors behind `/weights/<sha256>`: those of the last steps, and of an open evaluation. */

import type { Lease } from "@swarmvit/shared/protocol";
import type { Published } from "../vectors/vector-work.ts";

export interface PublishedVectors {
  add(published: Published): void;
  get(sha256: string): Uint8Array | undefined;
  /** Keeps the weights of an evaluation's lease until another evaluation's is seen. */
  pin(lease: Pick<Lease, "kind" | "step" | "weights" | "statistics">): void;
}

/** Publications that are kept: a volunteer that is a step behind finds what its lease names. */
const KEPT = 3;

/** Opens an empty store. */
export function openPublishedVectors(): PublishedVectors {
  const vectors = new Map<string, Uint8Array>();
  const generations: (readonly string[])[] = []; // oldest first
  const pinned = { step: -1, hashes: new Set<string>() };
  return {
    add({ vectors: added }) {
      for (const { sha256, bytes } of added) vectors.set(sha256, bytes);
      generations.push(added.map(({ sha256 }) => sha256));
      if (generations.length > KEPT) generations.shift();
      const wanted = new Set([...generations.flat(), ...pinned.hashes]);
      for (const hash of vectors.keys()) if (!wanted.has(hash)) vectors.delete(hash);
    },
    get: (sha256) => vectors.get(sha256),
    pin({ kind, step, weights, statistics }) {
      if (kind !== "evaluation") return;
      if (step !== pinned.step) pinned.hashes.clear();
      pinned.step = step;
      pinned.hashes.add(weights);
      if (statistics) pinned.hashes.add(statistics);
    },
  };
}
