/** The vectors behind `/weights/<sha256>`: those of the last steps, and of an open evaluation. */

import type { Lease } from "@swarmvit/shared/protocol";
import { DELTAS_KEPT } from "@swarmvit/shared/published-weights";
import type { EncodedWeights, Published } from "../vectors/publication.ts";

/** A vector that is being sent: its bytes stay as they are until it is released. */
export interface HeldVector {
  /** Float32. */
  readonly bytes: Uint8Array;
  release(): void;
}

export interface PublishedVectors {
  add(published: Published): void;
  /** A vector for a while. */
  hold(sha256: string): HeldVector | undefined;
  /** The published parameters as halves, where the run's codec says so. */
  halves(sha256: string): Uint8Array | undefined;
  /** The deltas that lead to the parameters from an earlier version, oldest first; undefined where it is too far back. */
  deltas(sha256: string, from: string): readonly Uint8Array[] | undefined;
  /** Keeps the weights of an evaluation's lease until another evaluation's is seen. */
  pin(lease: Pick<Lease, "kind" | "step" | "weights" | "statistics">): void;
}

interface Vector {
  readonly bytes: Uint8Array;
  holders: number;
  dropped: boolean;
}

/** Publications that are kept: a volunteer that is a step behind finds what its lease names. */
const KEPT = 3;

/** Opens an empty store. `recycle` is given the bytes of each vector that nobody can ask for or reads any more. */
export function openPublishedVectors(
  recycle: (bytes: Uint8Array) => void = () => {},
): PublishedVectors {
  const vectors = new Map<string, Vector>();
  const encodings = new Map<string, EncodedWeights>(); // by the hash of the parameters
  const generations: (readonly string[])[] = []; // oldest first
  const pinned = { step: -1, hashes: new Set<string>() };
  const recycleIfUnused = ({ bytes, holders, dropped }: Vector) => {
    if (dropped && holders === 0) recycle(bytes);
  };
  const drop = (vector: Vector) => {
    vector.dropped = true;
    recycleIfUnused(vector);
  };
  return {
    add({ vectors: added, weights, encoded }) {
      for (const { sha256, bytes } of added) {
        if (vectors.has(sha256))
          recycle(bytes); // the same values again
        else vectors.set(sha256, { bytes, holders: 0, dropped: false });
      }
      if (encoded) encodings.set(weights.parameters, encoded);
      generations.push(added.map(({ sha256 }) => sha256));
      if (generations.length > KEPT) generations.shift();
      const wanted = new Set([...generations.flat(), ...pinned.hashes]);
      for (const [hash, vector] of vectors)
        if (!wanted.has(hash)) {
          vectors.delete(hash);
          drop(vector);
        }
      for (const hash of encodings.keys()) if (!wanted.has(hash)) encodings.delete(hash);
    },
    hold(sha256) {
      const vector = vectors.get(sha256);
      if (!vector) return undefined;
      vector.holders++;
      let released = false;
      return {
        bytes: vector.bytes,
        release() {
          if (released) return;
          released = true;
          vector.holders--;
          recycleIfUnused(vector);
        },
      };
    },
    halves(sha256) {
      const encoded = encodings.get(sha256);
      return encoded?.from === undefined ? encoded?.bytes : undefined;
    },
    deltas(sha256, from) {
      const deltas: Uint8Array[] = [];
      let at: string | undefined = sha256;
      while (at !== undefined && at !== from) {
        const encoded: EncodedWeights | undefined = encodings.get(at);
        if (encoded?.from === undefined || deltas.length === DELTAS_KEPT) return undefined;
        deltas.unshift(encoded.bytes);
        at = encoded.from;
      }
      return deltas.length > 0 ? deltas : undefined;
    },
    pin({ kind, step, weights, statistics }) {
      if (kind !== "evaluation") return;
      if (step !== pinned.step) pinned.hashes.clear();
      pinned.step = step;
      pinned.hashes.add(weights);
      if (statistics) pinned.hashes.add(statistics);
    },
  };
}
