/**
 * The wire's gradient codecs (shared/codec.ts) in integer arithmetic, so that a device's bytes are the
 * processor's. A row is a run of at most 256 values of one tensor, in PyTorch's order, for one invocation:
 * [place of the tensor, first value, values, first word written] [outputs, inputs, taps, slot].
 */

import { type Kernel, kernel } from "../kernel.ts";

/** Words of a row. */
export const ROW_WORDS = 8;

/** Bits of the smallest largest value that gives a block a scale: 127 · 2^-126. */
const SMALLEST_BLOCK_BITS = new Uint32Array(Float32Array.of(127 * 2 ** -126).buffer)[0];
const INFINITY_BITS = "0x7f800000u";

/** Where value `i` of a row lies: 3x3 kernels are [tap, I, O] on the device, [O, I, tap] in PyTorch. */
const SOURCE = `
fn source(place: vec4<u32>, shape: vec4<u32>, i: u32) -> u32 {
let rest = shape.y * shape.z;
let at = place.y + i;
let inner = at % rest;
return place.x + (inner % shape.z * shape.y + inner / shape.z) * shape.x + at / rest;
}`;

/** x = mantissa · 2^(exponent - 150), from its bits. */
const PARTS = `
fn exponentOf(bits: u32) -> i32 { return max(i32((bits >> 23u) & 0xffu), 1); }
fn mantissaOf(bits: u32) -> u32 {
return (bits & 0x7fffffu) | select(0u, 0x800000u, ((bits >> 23u) & 0xffu) > 0u);
}`;

const OPEN_ROW = `let place = rows[2u * id];
let shape = rows[2u * id + 1u];`;

const reads = [
  ["rows", "vec4<u32>"],
  ["values", "u32"],
] as const;

/** Copies rows as they are: float32. */
export function exactRowsKernel(workgroup: number): Kernel {
  return kernel(
    {
      key: "exactRows",
      params: [],
      reads,
      writes: [["to", "u32"]],
      functions: SOURCE,
      body: `${OPEN_ROW}
for (var i = 0u; i < place.z; i++) { to[place.w + i] = values[source(place, shape, i)]; }`,
    },
    workgroup,
  );
}

/** int8: the block's scale into word `slot`, four codes a word. As `encodeInt8`. */
export function int8RowsKernel(workgroup: number): Kernel {
  return kernel(
    {
      key: "int8Rows",
      params: [],
      reads,
      writes: [["to", "u32"]],
      functions: `${SOURCE}${PARTS}
fn scaleOf(largest: u32) -> u32 {
if (largest >= ${INFINITY_BITS}) { return 0x7fc00000u; }
if (largest < ${SMALLEST_BLOCK_BITS}u) { return 0u; }
let m = mantissaOf(largest);
let high = (m << 7u) / 127u >= 0x1000000u;
let numerator = m << select(7u, 6u, high);
let quotient = numerator / 127u;
let up = select(0u, 1u, 2u * (numerator - quotient * 127u) > 127u);
return (u32(exponentOf(largest) - select(7, 6, high)) << 23u) + quotient - 0x800000u + up;
}
fn code(bits: u32, scale: u32) -> u32 {
let shift = exponentOf(bits) - exponentOf(scale);
if (shift < -1) { return 0u; }
let numerator = mantissaOf(bits) << u32(max(shift, 0));
let denominator = mantissaOf(scale) << u32(max(-shift, 0));
let quotient = numerator / denominator;
let rest = 2u * (numerator - quotient * denominator);
let odd = quotient & 1u;
let whole = quotient + select(0u, 1u, rest > denominator) + select(0u, odd, rest == denominator);
return select(whole, 0u - whole, bits >= 0x80000000u) & 0xffu;
}`,
      body: `${OPEN_ROW}
var largest = 0u;
for (var i = 0u; i < place.z; i++) {
largest = max(largest, values[source(place, shape, i)] & 0x7fffffffu);
}
let scale = scaleOf(largest);
to[shape.w] = scale;
let coded = (scale > 0u) & (scale < ${INFINITY_BITS});
for (var first = 0u; first < place.z; first += 4u) {
var word = 0u;
for (var i = first; i < min(first + 4u, place.z); i++) {
if (coded) { word |= code(values[source(place, shape, i)], scale) << (8u * (i - first)); }
}
to[place.w + first / 4u] = word;
}`,
    },
    workgroup,
  );
}

/** f16, first: bits of the largest magnitude of each row. */
export function largestRowsKernel(workgroup: number): Kernel {
  return kernel(
    {
      key: "largestRows",
      params: [],
      reads,
      writes: [["largest", "u32"]],
      functions: SOURCE,
      body: `${OPEN_ROW}
var most = 0u;
for (var i = 0u; i < place.z; i++) {
most = max(most, values[source(place, shape, i)] & 0x7fffffffu);
}
largest[id] = most;`,
    },
    workgroup,
  );
}

/** f16, second: the exponent of each tensor, two a word; a tensor is [first row, rows]. */
export function exponentsKernel(workgroup: number): Kernel {
  return kernel(
    {
      key: "exponents",
      params: ["tensors"],
      reads: [
        ["tensors", "vec2<u32>"],
        ["largest", "u32"],
      ],
      writes: [
        ["to", "u32"],
        ["exponents", "i32"],
      ],
      functions: PARTS,
      body: `var word = 0u;
for (var half = 0u; half < 2u; half++) {
let t = 2u * id + half;
if (t >= p.tensors) { break; }
var most = 0u;
for (var r = 0u; r < tensors[t].y; r++) { most = max(most, largest[tensors[t].x + r]); }
let lead = exponentOf(most) - 150 + i32(firstLeadingBit(max(mantissaOf(most), 1u)));
let exponent = select(lead - 14, 0, (most == 0u) | (most >= ${INFINITY_BITS}));
exponents[t] = exponent;
word |= (u32(exponent) & 0xffffu) << (16u * half);
}
to[id] = word;`,
    },
    workgroup,
  );
}

/** f16, third: two halves a word, scaled by the exponent of tensor `slot`. As `encodeHalves`. */
export function halfRowsKernel(workgroup: number): Kernel {
  return kernel(
    {
      key: "halfRows",
      params: [],
      reads: [...reads, ["exponents", "i32"]],
      writes: [["to", "u32"]],
      functions: `${SOURCE}${PARTS}
fn half(bits: u32, exponent: i32) -> u32 {
let sign = (bits >> 16u) & 0x8000u;
let magnitude = bits & 0x7fffffffu;
if (magnitude == 0u) { return sign; }
if (magnitude >= ${INFINITY_BITS}) { return sign | select(0x7c00u, 0x7e00u, magnitude > ${INFINITY_BITS}); }
let lead = 23u - firstLeadingBit(mantissaOf(bits));
let mantissa = mantissaOf(bits) << lead;
let wanted = exponentOf(bits) - i32(lead) - exponent - 112;
if (wanted >= 31) { return sign | 0x7c00u; }
if (wanted >= 1) {
let rebiased = (u32(wanted) << 23u) | (mantissa & 0x7fffffu);
return sign | ((rebiased + 0xfffu + ((rebiased >> 13u) & 1u)) >> 13u);
}
if (wanted < -10) { return sign; }
let drop = u32(14 - wanted);
let kept = mantissa >> drop;
let rest = mantissa - (kept << drop);
let middle = 1u << (drop - 1u);
return sign | (kept + select(0u, 1u, rest > middle) + select(0u, kept & 1u, rest == middle));
}`,
      body: `${OPEN_ROW}
let exponent = exponents[shape.w];
for (var first = 0u; first < place.z; first += 2u) {
var word = 0u;
for (var i = first; i < min(first + 2u, place.z); i++) {
word |= half(values[source(place, shape, i)], exponent) << (16u * (i - first));
}
to[place.w + first / 2u] = word;
}`,
    },
    workgroup,
  );
}
