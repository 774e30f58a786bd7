/**
 * IEEE 754 half precision for long vectors. The platform's Float16Array is too new and its
 * polyfills' element access goes through a Proxy; a table and a few integer operations do not.
 */

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);
/** Scaled values on their way to halves, few enough for the processor's nearest cache. */
const SOME = new Float32Array(2048);
const SOME_BITS = new Uint32Array(SOME.buffer);

/** Bits of the nearest half, ties to even; overflow gives infinity, NaN stays NaN. */
export function toHalf(value: number): number {
  scratch[0] = value;
  return halfOfBits(scratchBits[0]);
}

/** The same from the bits of a float32, for loops over a long vector's Uint32Array view. */
export function halfOfBits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x7f800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00);
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // rounds to 2^16 or more
  if (magnitude >= 0x38800000) {
    // Normal: rebias the exponent, then round the 13 dropped bits to nearest even.
    const rebiased = magnitude - 0x38000000;
    return sign | ((rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13);
  }
  // Subnormal: adding 0.5 aligns the wanted bits with the end of a float32's mantissa.
  scratchBits[0] = magnitude;
  scratch[0] += 0.5;
  return sign | (scratchBits[0] - 0x3f000000);
}

/** Halves of values · scale, for a power of two as scale; the product must stay within float32. */
export function encodeHalves(values: Float32Array, scale: number, out: Uint16Array): void {
  for (let first = 0; first < values.length; first += SOME.length)
    encodeSome(values, first, Math.min(first + SOME.length, values.length), scale, out);
}

/** Values [first, end), at most as many as `SOME` holds. */
function encodeSome(
  values: Float32Array,
  first: number,
  end: number,
  scale: number,
  out: Uint16Array,
): void {
  for (let i = first; i < end; i++) SOME[i - first] = values[i] * scale;
  for (let i = first; i < end; i++) {
    const bits = SOME_BITS[i - first];
    const magnitude = bits & 0x7fffffff;
    if (magnitude < 0x477ff000 && magnitude >= 0x38800000) {
      // As in `halfOfBits`, which most values are spared.
      const rebiased = magnitude - 0x38000000;
      const half = (rebiased + 0xfff + ((rebiased >>> 13) & 1)) >>> 13;
      out[i] = ((bits >>> 16) & 0x8000) | half;
    } else out[i] = halfOfBits(bits);
  }
}

/** Values of halves · scale. */
export function decodeHalves(halves: Uint16Array, scale: number, out: Float32Array): void {
  const values = halfTable();
  for (let i = 0; i < halves.length; i++) out[i] = Math.fround(values[halves[i]] * scale);
}

/** Value of each of the 65,536 halves. */
export function halfTable(): Float32Array {
  table ??= makeTable();
  return table;
}

let table: Float32Array | undefined;

function makeTable(): Float32Array {
  const values = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >>> 10) & 31;
    const mantissa = bits & 1023;
    const magnitude =
      exponent === 0
        ? mantissa * 2 ** -24
        : exponent === 31
          ? mantissa === 0
            ? Number.POSITIVE_INFINITY
            : Number.NaN
          : (1 + mantissa / 1024) * 2 ** (exponent - 15);
    values[bits] = bits & 0x8000 ? -magnitude : magnitude;
  }
  return values;
}
