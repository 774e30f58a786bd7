/**
 * The integer hash that every random decision of a run comes from (SPEC section 9, DESIGN section
 * 5): a pure function of (seed, site, index), the same in every browser, in Node and in WGSL.
 */

/** FNV-1a of an ASCII string: turns the name of a site into a number. */
export function fnv1a32(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** The hash of SPEC section 9 before its last shift: 32 well-mixed bits of (seed, index). */
export function hash32(seed: number, index: number): number {
  let x = (Math.imul(index, 0x9e3779b9) + seed) >>> 0;
  x ^= x >>> 16;
  x = Math.imul(x, 0x7feb352d);
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b);
  x ^= x >>> 16;
  return x >>> 0;
}

/** 24 random bits, a whole number in [0, 2^24): compare it where two machines must agree. */
export function u24(seed: number, index: number): number {
  return hash32(seed, index) >>> 8;
}

/** Uniform in [0, 1) with 24 bits: SPEC's `u`. */
export function uniform(seed: number, index: number): number {
  return u24(seed, index) / 16777216;
}

/** The seed of a site: what `u24` and `uniform` take together with an index. */
export function siteSeed(seed: number, site: string): number {
  return hash32(fnv1a32(site), seed);
}

/** A dropout mask keeps element i iff `u24(siteSeed(unitSeed, site), i) >= dropoutThreshold(p)`. */
export function dropoutThreshold(p: number): number {
  return Math.round(p * 16777216);
}

/** A whole number in [0, n), n ≤ 2^24, without the bias of a remainder that matters (n / 2^24). */
export function below(n: number, seed: number, index: number): number {
  return Math.floor(uniform(seed, index) * n);
}

/** The permutation of 0 … n-1 that a seed names (Fisher-Yates). */
export function permutation(n: number, seed: number): Uint32Array {
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;
  for (let i = n - 1; i > 0; i--) {
    const j = below(i + 1, seed, i);
    const swap = order[i];
    order[i] = order[j];
    order[j] = swap;
  }
  return order;
}

/** SPEC section 9's deterministic fill: `fround(mean + scale·(2u - 1))` for a named tensor. */
export function fill(name: string, length: number, mean: number, scale: number): Float32Array {
  const seed = fnv1a32(name);
  const out = new Float32Array(length);
  for (let i = 0; i < length; i++) out[i] = mean + scale * (2 * uniform(seed, i) - 1);
  return out;
}
