/** Where a model's weights lie in the machine's memory: as they are, packed, and their statistics. */

import type { ParameterTable, TensorSpec } from "@swarmvit/shared/parameters";
import type { ValueRole } from "../graph.ts";
import { engineShape } from "../layout.ts";
import { opcode } from "./opcodes.ts";
import { type PackedForm, packingOf } from "./packing.ts";

export interface WeightMap {
  readonly parameters: number;
  readonly statistics: number;
  /** First address after the weights. */
  readonly end: number;
  /** Program that packs all weights; it runs whenever they change. */
  readonly packingProgram: Int32Array;
  readonly packingAt: number;
  addressOf(role: ValueRole): number;
  packed(role: ValueRole, form: PackedForm): number;
  parameter(name: string): TensorSpec;
  statistic(name: string, which: "mean" | "variance"): TensorSpec;
}

/** Places the weights of a model from `base` on. */
export function createWeightMap(table: ParameterTable, base: number): WeightMap {
  let end = base;
  const take = (bytes: number) => {
    const start = end;
    end += Math.ceil(bytes / 64) * 64;
    return start;
  };
  const byName = new Map<string, TensorSpec>();
  for (const spec of [...table.parameters, ...table.statistics]) byName.set(spec.name, spec);
  const find = (name: string): TensorSpec => {
    const spec = byName.get(name);
    if (!spec) throw new Error(`the model has no tensor ${name}; graph and table disagree`);
    return spec;
  };
  const statistic = (name: string, which: "mean" | "variance") =>
    find(`${name}.running_${which === "mean" ? "mean" : "var"}`);

  const parameters = take(table.parameterCount * 4 + 64);
  const statistics = take(table.statisticsCount * 4 + 64);
  const packedAt = new Map<string, number>();
  const words: number[] = [];
  for (const spec of table.parameters) {
    const shape = engineShape(spec);
    const depthwise = shape.length === 3;
    if (shape.length === 1 || depthwise) continue;
    for (const form of ["forward", "backward"] as const) {
      const { command, sizes, panels, bytes } = packingOf(shape, form);
      const address = take(bytes);
      packedAt.set(`${spec.name} ${form}`, address);
      words.push(opcode(command), panels, 7, parameters + spec.offset * 4, address, ...sizes);
    }
  }
  const packingAt = take(words.length * 4);

  return {
    parameters,
    statistics,
    end,
    packingProgram: Int32Array.from(words),
    packingAt,
    addressOf(role) {
      if (role.kind === "parameter") return parameters + find(role.name).offset * 4;
      if (role.kind === "runningMean") return statistics + statistic(role.name, "mean").offset * 4;
      if (role.kind === "runningVariance")
        return statistics + statistic(role.name, "variance").offset * 4;
      throw new Error(`a value of kind ${role.kind} has no place in the plan`);
    },
    packed(role, form) {
      const address = role.kind === "parameter" && packedAt.get(`${role.name} ${form}`);
      if (!address) throw new Error(`a product's weight must be a parameter, got ${role.kind}`);
      return address;
    },
    parameter: find,
    statistic,
  };
}
