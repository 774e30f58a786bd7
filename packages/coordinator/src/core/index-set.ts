/** A set of whole numbers below a bound, of which the one nearest to a place is found without a search. */

export interface IndexSet {
  readonly size: number;
  has(index: number): boolean;
  add(index: number): void;
  /** True if it was there. */
  delete(index: number): boolean;
  /** The smallest one that is `from` or more. */
  firstFrom(from: number): number | undefined;
  /** The largest one below `end`. */
  lastBelow(end: number): number | undefined;
}

const WORD_BITS = 32;

/** Opens an empty set for the numbers [0, bound). */
export function openIndexSet(bound: number): IndexSet {
  const words = new Int32Array(Math.ceil(bound / WORD_BITS));
  let size = 0;
  const has = (index: number) => ((words[index >> 5] >>> (index & 31)) & 1) === 1;
  return {
    get size() {
      return size;
    },
    has,
    add(index) {
      if (has(index)) return;
      words[index >> 5] |= 1 << (index & 31);
      size++;
    },
    delete(index) {
      if (!has(index)) return false;
      words[index >> 5] &= ~(1 << (index & 31));
      size--;
      return true;
    },
    firstFrom(from) {
      if (size === 0) return undefined;
      const start = Math.max(0, from);
      for (let at = start >> 5; at < words.length; at++) {
        const word = at === start >> 5 ? words[at] & (-1 << (start & 31)) : words[at];
        if (word !== 0) return at * WORD_BITS + 31 - Math.clz32(word & -word);
      }
      return undefined;
    },
    lastBelow(end) {
      if (size === 0) return undefined;
      const last = Math.min(end, words.length * WORD_BITS) - 1;
      for (let at = last >> 5; at >= 0; at--) {
        const word = at === last >> 5 ? words[at] & (-1 >>> (31 - (last & 31))) : words[at];
        if (word !== 0) return at * WORD_BITS + 31 - Math.clz32(word);
      }
      return undefined;
    },
  };
}
