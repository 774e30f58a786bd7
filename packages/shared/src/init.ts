/**
 * The paper's initialisation from a seed ([P01], SPEC section 1): convolutions N(0, 2/fan_out)
 * with fan_out = out·k·k whatever the groups, linear layers N(0, 0.02²) cut at ±2, biases 0,
 * norms 1 and 0, running statistics 0 and 1.
 */

import type { ParameterTable, TensorSpec } from "./parameters.ts";
import { siteSeed, uniform } from "./random.ts";

/** Standard deviation of linear weights. */
const LINEAR_STD = 0.02;

/** The starting parameters, [parameterCount]. */
export function initialParameters(table: ParameterTable, seed: number): Float32Array {
  const out = new Float32Array(table.parameterCount);
  for (const tensor of table.parameters) {
    const values = out.subarray(tensor.offset, tensor.offset + tensor.size);
    switch (tensor.kind) {
      case "conv":
        fillNormal(values, siteSeed(seed, tensor.name), Math.sqrt(2 / fanOut(tensor)));
        break;
      case "linear":
        fillNormal(values, siteSeed(seed, tensor.name), LINEAR_STD);
        break;
      case "bn_gamma":
      case "ln_gamma":
        values.fill(1);
    }
  }
  return out;
}

/** The starting statistics, [statisticsCount]: mean 0, variance 1. */
export function initialStatistics(table: ParameterTable): Float32Array {
  const out = new Float32Array(table.statisticsCount);
  for (const { kind, offset, size } of table.statistics)
    if (kind === "bn_var") out.fill(1, offset, offset + size);
  return out;
}

function fanOut({ shape }: TensorSpec): number {
  return shape[0] * shape[2] * shape[3];
}

/**
 * Box-Muller on pairs of uniforms. Only the coordinator calls it, once a run, so Math.log and
 * Math.cos need not agree between machines.
 */
function fillNormal(values: Float32Array, seed: number, std: number): void {
  for (let i = 0; i < values.length; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform(seed, 2 * i)));
    values[i] = std * radius * Math.cos(2 * Math.PI * uniform(seed, 2 * i + 1));
  }
}
