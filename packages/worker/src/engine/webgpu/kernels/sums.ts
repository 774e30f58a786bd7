/** The last stages: adding slabs into gradients, and units into a node. */

import { type Kernel, kernel } from "../kernel.ts";
import { HASH } from "./elementwise.ts";

/** Vectors of four that one invocation of `slabSumKernel` adds at most. */
const VECTORS = 4;

/** Floats that one chunk of `slabSumKernel` covers. */
export function floatsPerChunk(workgroup: number): number {
  return workgroup * VECTORS * 4;
}

/**
 * Many slab sums in one dispatch. Each workgroup takes one chunk of the table, in vectors of four:
 * [where it goes, where slab 0 begins, distance of slabs, slabs | length << 16]; slabs are added in order.
 */
export function slabSumKernel(workgroup: number): Kernel {
  return kernel(
    {
      key: "slabSum",
      params: [],
      reads: [
        ["chunks", "vec4<u32>"],
        ["parts", "vec4<f32>"],
      ],
      writes: [["sums", "vec4<f32>"]],
      body: `let chunk = chunks[id / ${workgroup}u];
let slabs = chunk.w & 0xffffu;
let end = chunk.w >> 16u;
for (var e = local; e < end; e += ${workgroup}u) {
var sum = vec4<f32>(0.0);
for (var s = 0u; s < slabs; s++) { sum += parts[chunk.y + s * chunk.z + e]; }
sums[chunk.x + e] = sum;
}`,
    },
    workgroup,
  );
}

/** to = part·weight (`copy`) or to + part·weight, `per` vectors an invocation. */
export function accumulateKernel(copy: boolean, workgroup: number): Kernel {
  return kernel(
    {
      key: `accumulate/${copy}`,
      params: ["vectors", "per", "weight:f32"],
      reads: [["part", "vec4<f32>"]],
      writes: [["to", "vec4<f32>"]],
      body: `let first = id * p.per;
let last = min(first + p.per, p.vectors);
for (var i = first; i < last; i++) {
to[i] = ${copy ? "part[i] * p.weight" : "to[i] + part[i] * p.weight"};
}`,
    },
    workgroup,
  );
}

/** What `canaryKernel` writes for a token: 24 bits of its hash, exact as a float. */
export const CANARY_SITE = 0x5eed;

/** canary[0] = u24(token, CANARY_SITE): travels with each read-back and shows that it is fresh. */
export function canaryKernel(workgroup: number): Kernel {
  return kernel(
    {
      key: "canary",
      params: [],
      reads: [["unit", "u32"]],
      writes: [["canary", "f32"]],
      functions: HASH,
      body: `canary[0] = f32(hash32(unit[1], ${CANARY_SITE}u) >> 8u);`,
    },
    workgroup,
  );
}
