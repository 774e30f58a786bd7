/**
 * One checkpoint as a safetensors file: the optimizer's weights w, the published p, both moments,
 * EMA and statistics, each one flat vector, with the core's snapshot in the metadata.
 */

import type { ParameterTable } from "@swarmvit/shared/parameters";
import {
  decodeSafetensors,
  floatTensor,
  safetensorsParts,
  tensorFloats,
} from "@swarmvit/shared/safetensors";
import type { CoreSnapshot } from "../core/messages.ts";
import type { VectorState } from "../vectors/vector-state.ts";

/** Raised when a checkpoint changes its meaning. */
export const CHECKPOINT_SCHEMA = 1;

const VECTORS = [
  "weights",
  "published",
  "firstMoment",
  "secondMoment",
  "emaWeights",
  "statistics",
  "emaStatistics",
] as const satisfies readonly (keyof VectorState)[];

export interface Checkpoint {
  readonly state: VectorState;
  readonly core: CoreSnapshot;
}

/** The bytes of a checkpoint, in parts that share memory with the state. */
export function encodeCheckpoint(
  table: ParameterTable,
  state: VectorState,
  core: CoreSnapshot,
): Uint8Array[] {
  const tensors = new Map(
    VECTORS.map((name) => [name, floatTensor([state[name].length], state[name])] as const),
  );
  return safetensorsParts(tensors, {
    format: "swarmvit-checkpoint",
    schema: String(CHECKPOINT_SCHEMA),
    variant: table.variant,
    classes: String(table.classes),
    steps: String(state.steps),
    core: JSON.stringify(core),
  });
}

/**
 * Reads a checkpoint of this model; the state shares the memory of `bytes` where that is aligned.
 * Errors on another schema, variant or class count, or damage.
 */
export function decodeCheckpoint(bytes: Uint8Array, table: ParameterTable): Checkpoint {
  const { tensors, metadata } = decodeSafetensors(bytes);
  const expect = (what: string, wanted: string | number, got: string | number | undefined) => {
    if (String(wanted) !== String(got))
      throw new Error(`a checkpoint with ${what} ${wanted} was expected (got ${got})`);
  };
  expect("format", "swarmvit-checkpoint", metadata.format);
  expect("schema", CHECKPOINT_SCHEMA, metadata.schema);
  expect("variant", table.variant, metadata.variant);
  expect("classes", table.classes, metadata.classes);
  const vector = (name: (typeof VECTORS)[number]): Float32Array => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`a checkpoint with the vector ${name} was expected (got none)`);
    const size = name === "statistics" || name === "emaStatistics" ? "statistics" : "parameter";
    expect(`${name} of`, table[`${size}Count`], tensor.shape.join());
    return tensorFloats(tensor);
  };
  const core: CoreSnapshot = JSON.parse(metadata.core ?? "null");
  if (core?.schema !== 1)
    throw new Error(`a core snapshot of schema 1 was expected (got ${core?.schema})`);
  const [weights, published, firstMoment, secondMoment, emaWeights, statistics, emaStatistics] =
    VECTORS.map(vector);
  const state: VectorState = {
    weights,
    published,
    firstMoment,
    secondMoment,
    emaWeights,
    statistics,
    emaStatistics,
    steps: Number(metadata.steps),
  };
  return { state, core };
}
