/** Decoded images kept in memory, so that small images are decoded once and not every epoch. */

import type { Pixels } from "./decode.ts";

/** A decoded sample. */
export interface DecodedSample {
  readonly pixels: Pixels;
  readonly label: number;
}

/** By sample id; the least recently used ones give way. */
export interface PixelCache {
  get(sample: number): DecodedSample | undefined;
  set(sample: number, decoded: DecodedSample): void;
  /** Bytes of pixels held now. */
  bytes(): number;
  /** Forgets all, for instance when another run or another split begins. */
  clear(): void;
}

/** A cache of at most `maxBytes` of pixels; an image larger than that is not kept. */
export function createPixelCache(maxBytes: number): PixelCache {
  // A Map iterates in the order of insertion: re-inserting on use keeps the oldest first.
  const entries = new Map<number, DecodedSample>();
  let held = 0;
  const remove = (sample: number): void => {
    const entry = entries.get(sample);
    if (!entry) return;
    held -= entry.pixels.rgb.length;
    entries.delete(sample);
  };
  return {
    get(sample) {
      const entry = entries.get(sample);
      if (!entry) return undefined;
      entries.delete(sample);
      entries.set(sample, entry);
      return entry;
    },
    set(sample, decoded) {
      remove(sample);
      if (decoded.pixels.rgb.length > maxBytes) return;
      entries.set(sample, decoded);
      held += decoded.pixels.rgb.length;
      for (const oldest of entries.keys()) {
        if (held <= maxBytes) break;
        remove(oldest);
      }
    },
    bytes: () => held,
    clear() {
      entries.clear();
      held = 0;
    },
  };
}
