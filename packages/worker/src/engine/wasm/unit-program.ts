/**
 * A network of one size on the machine: where its values lie, its program, and where a unit's
 * inputs go and its results come from. Built once for each (mode, height, width, batch).
 */

import type { TensorSpec } from "@swarmvit/shared/parameters";
import type { Graph, Value, ValueId } from "../graph.ts";
import { elements } from "../graph-builder.ts";
import { plan } from "../plan.ts";
import { keepActivations } from "./fuse.ts";
import type { Program } from "./lowering.ts";
import type { PackedForm } from "./packing.ts";
import { lower, zeroBytes } from "./program.ts";
import type { WeightMap } from "./weight-map.ts";

/** A value's place: byte address, number of floats. */
export interface Region {
  readonly address: number;
  readonly length: number;
}

export interface UnitProgram {
  readonly program: Program;
  readonly zeros: Region;
  /** Where the program's words go, and the end of all memory that the unit uses. */
  readonly programAt: number;
  readonly scratchAt: number;
  readonly end: number;
  /** Bytes of the plan's arena. */
  readonly arenaBytes: number;
  place(id: ValueId): Region;
  /** Gradients with the place of their parameter in the flat vector; statistics likewise. */
  readonly gradients: readonly (Region & { readonly offset: number })[];
  readonly statistics: readonly (Region & { readonly offset: number })[];
}

/** Places a graph above the weights. */
export function createUnitProgram(built: Graph, weights: WeightMap, threads: number): UnitProgram {
  const graph = keepActivations(built);
  let end = weights.end;
  const take = (bytes: number) => {
    const start = end;
    end += Math.ceil(bytes / 64) * 64;
    return start;
  };
  const placed = plan(graph, { alignment: 64 });
  const zeros = { length: Math.ceil(zeroBytes(graph) / 4), address: 0 };
  zeros.address = take(zeros.length * 4);
  const arena = take(placed.bytes + 64); // kernels read a little beyond
  const parts = take(0);
  const addressOf = (id: ValueId): number => {
    const place = placed.places[id];
    return place ? arena + place.offset : weights.addressOf(graph.values[id].role);
  };
  const program = lower(graph, {
    value: addressOf,
    packed: (id: ValueId, form: PackedForm) => weights.packed(graph.values[id].role, form),
    zeros: zeros.address,
    parts,
  });
  take(program.partsBytes + 64);
  const scratchAt = take(program.scratchBytes * threads);
  const programAt = take(program.words.length * 4);

  const place = (id: ValueId): Region => ({
    address: addressOf(id),
    length: elements(graph.values[id].shape),
  });
  const results = (specOf: (value: Value) => TensorSpec | undefined) =>
    graph.values.flatMap((value) => {
      const spec = specOf(value);
      return spec ? [{ ...place(value.id), offset: spec.offset }] : [];
    });
  return {
    program,
    zeros,
    programAt,
    scratchAt,
    end,
    arenaBytes: placed.bytes,
    place,
    gradients: results(({ role }) =>
      role.kind === "gradient" ? weights.parameter(role.parameter) : undefined,
    ),
    statistics: results(({ role }) =>
      role.kind === "statistic" ? weights.statistic(role.name, role.which) : undefined,
    ),
  };
}
