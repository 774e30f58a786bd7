/**
 * A model and a batch that are formulas (SPEC section 9): the same numbers on every machine, with
 * nothing to download. What self-tests and benches compute on.
 */

import type { ParameterTable, TensorSpec } from "@swarmvit/shared/parameters";
import { fill, fnv1a32, uniform } from "@swarmvit/shared/random";
import type { VariantName } from "@swarmvit/shared/variants";
import type { Batch } from "./executor.ts";

/** Extent of the flat blocks that a formula image is made of, beside noise. */
const BLOCK = 16;
/** The labels' formula is of the networks with 1000 classes. */
const FORMULA_CLASSES = 1000;

/** Weights and running statistics of a table, in its order and PyTorch's layouts. */
export function formulaWeights(table: ParameterTable): {
  readonly parameters: Float32Array;
  readonly statistics: Float32Array;
} {
  return {
    parameters: filled(table.parameters, table.parameterCount),
    statistics: filled(table.statistics, table.statisticsCount),
  };
}

/** Images and labels of a variant at a size; labels are taken modulo `classes`. */
export function formulaBatch(
  variant: VariantName,
  height: number,
  width: number,
  samples: number,
  classes = FORMULA_CLASSES,
): Batch {
  const name = `${variant}/${samples}x3x${height}x${width}`;
  const [noise, blocks] = [fnv1a32(`input/${name}`), fnv1a32(`input/${name}#block`)];
  const [rows, columns] = [Math.ceil(height / BLOCK), Math.ceil(width / BLOCK)];
  const pixels = new Float32Array(samples * height * width * 3);
  let at = 0; // in NHWC, while the formula counts in NCHW
  for (let b = 0; b < samples; b++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++)
        for (let c = 0; c < 3; c++) {
          const plane = b * 3 + c;
          const block = (plane * rows + (y >> 4)) * columns + (x >> 4);
          pixels[at++] =
            0.25 * uniform(noise, (plane * height + y) * width + x) + 0.75 * uniform(blocks, block);
        }
  const seed = fnv1a32(`labels/${name}`);
  const labels = Int32Array.from(
    { length: samples },
    (_, i) => Math.floor(uniform(seed, i) * FORMULA_CLASSES) % classes,
  );
  return { height, width, pixels, labels, seed: 1 };
}

function filled(specs: readonly TensorSpec[], length: number): Float32Array {
  const vector = new Float32Array(length);
  for (const spec of specs) {
    const { mean, scale } = formulaOf(spec);
    vector.set(fill(spec.name, spec.size, mean, scale), spec.offset);
  }
  return vector;
}

/** Mean and half-width of a tensor's uniform numbers. */
function formulaOf({ name, kind, shape }: TensorSpec): { mean: number; scale: number } {
  const fanIn = shape.slice(1).reduce((product, n) => product * n, 1);
  switch (kind) {
    case "conv":
      return { mean: 0, scale: Math.sqrt((3 * 2) / fanIn) };
    case "linear":
      return { mean: 0, scale: Math.sqrt((3 * (name === "head.fc.weight" ? 8 : 1)) / fanIn) };
    case "bias":
      return { mean: 0, scale: 0.125 };
    case "bn_gamma":
    case "ln_gamma":
      return { mean: 1, scale: 0.25 };
    case "bn_beta":
    case "ln_beta":
    case "bn_mean":
      return { mean: 0, scale: 0.25 };
    case "bn_var":
      return { mean: 1, scale: 0.5 };
  }
}
