/**
 * Where a call finds its values: a chunk of up to `VALUES` of each array, in memory that stays in the
 * processor's cache. `kernels.ts` reads the numbers from the module's exports.
 */

/** Values of one block, which have one scale. */
export const BLOCK = 256;
/** Values of a chunk: whole blocks, the last may be shorter. */
export const VALUES = 16384;

/** Arrays of float32 [VALUES]. */
export const ARRAYS: usize = 1024;
/** Bytes of one of them, with room for a whole vector past its end. */
export const ARRAY_BYTES: usize = 4 * VALUES + 64;
/** Encoded gradients behind the four arrays: scales float32 [VALUES / BLOCK] and codes int8 [VALUES] each. */
export const FRAMES: usize = ARRAYS + 4 * ARRAY_BYTES;
export const SCALES_BYTES: usize = (4 * VALUES) / BLOCK;
export const FRAME_BYTES: usize = SCALES_BYTES + VALUES + 64;

export function array(index: i32): usize {
  return ARRAYS + <usize>index * ARRAY_BYTES;
}

export function scales(frame: i32): usize {
  return FRAMES + <usize>frame * FRAME_BYTES;
}

export function codes(frame: i32): usize {
  return scales(frame) + SCALES_BYTES;
}
