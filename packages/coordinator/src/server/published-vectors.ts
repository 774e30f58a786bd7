/** The vectors behind `/weights/<sha256>`: those of the last steps, and those that are pinned. */

import type { Published } from "../vectors/vector-work.ts";

export interface PublishedVectors {
  add(published: Published): void;
  get(sha256: string): Uint8Array | undefined;
  /** Keeps these as long as the pin is not moved: leases of an evaluation refer to them. */
  pin(hashes: ReadonlySet<string>): void;
}

/** Publications that are kept: a volunteer that is a step behind finds what its lease names. */
const KEPT = 3;

export function openPublishedVectors(): PublishedVectors {
  const vectors = new Map<string, Uint8Array>();
  const generations: (readonly string[])[] = []; // oldest first
  let pinned: ReadonlySet<string> = new Set();
  const trim = () => {
    const wanted = new Set([...generations.flat(), ...pinned]);
    for (const hash of vectors.keys()) if (!wanted.has(hash)) vectors.delete(hash);
  };
  return {
    add({ vectors: added }) {
      for (const { sha256, bytes } of added) vectors.set(sha256, bytes);
      generations.push(added.map(({ sha256 }) => sha256));
      if (generations.length > KEPT) generations.shift();
      trim();
    },
    get: (sha256) => vectors.get(sha256),
    pin(hashes) {
      pinned = hashes;
      trim();
    },
  };
}
