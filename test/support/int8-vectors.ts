/** Tables of any shapes, and values of many magnitudes to encode. */

import type { ParameterTable, TensorSpec } from "@swarmvit/shared/parameters";
import { uniform } from "@swarmvit/shared/random";
import fc from "fast-check";

/** A table of the given shapes. */
export function tableOf(...shapes: readonly (readonly number[])[]): ParameterTable {
  const parameters: TensorSpec[] = [];
  let offset = 0;
  for (const shape of shapes) {
    const size = shape.reduce((a, b) => a * b, 1);
    parameters.push({ name: `t${parameters.length}`, shape, kind: "linear", offset, size });
    offset += size;
  }
  const statistics = { statistics: [], statisticsCount: 0 };
  return { variant: "xxs", classes: 2, parameters, ...statistics, parameterCount: offset };
}

/** Random tables and values of many magnitudes, zeros and denormals among them. */
export const vectors = fc
  .tuple(
    fc.array(
      fc.oneof(
        fc.tuple(fc.integer({ min: 1, max: 40 })),
        fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 30 })),
      ),
      { minLength: 1, maxLength: 6 },
    ),
    fc.nat(1e6),
    fc.integer({ min: -45, max: 36 }),
  )
  .map(([shapes, seed, magnitude]) => {
    const table = tableOf(...shapes);
    const values = Float32Array.from({ length: table.parameterCount }, (_, i) => {
      const spread = 10 ** (magnitude - Math.floor(4 * uniform(seed + 1, i)));
      return uniform(seed + 2, i) < 0.1 ? 0 : spread * (2 * uniform(seed + 3, i) - 1);
    });
    return { table, values };
  });
