/**
 * A model's weights as a safetensors file with timm names and PyTorch shapes, in state_dict order,
 * so that timm loads what is written here and what timm wrote loads here (DESIGN section 6).
 */

import { type ParameterTable, parameterTable, type TensorSpec } from "./parameters.ts";
import {
  decodeSafetensors,
  encodeSafetensors,
  floatTensor,
  type SafeTensor,
  type SafetensorsFile,
  tensorFloats,
} from "./safetensors.ts";
import { VARIANTS, type VariantName } from "./variants.ts";

/** What a file says about itself, beside its tensors. */
export interface ModelMetadata {
  readonly which: "ema" | "raw";
  readonly classes: readonly string[];
  readonly step: number;
  /** Anything more, e.g. the run's name or its accuracy. */
  readonly extra?: Readonly<Record<string, string>>;
}

export interface ModelWeights {
  /** [parameterCount] */
  readonly parameters: Float32Array;
  /** [statisticsCount] */
  readonly statistics: Float32Array;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The file holds another model than the one asked for, or none. */
export class ModelMismatchError extends Error {
  override readonly name = "ModelMismatchError";
}

/** Every tensor of timm's state_dict, with `num_batches_tracked` (0: nothing here counts batches). */
export function modelTensors(
  table: ParameterTable,
  parameters: Float32Array,
  statistics: Float32Array,
): Map<string, SafeTensor> {
  const tensors = new Map<string, SafeTensor>();
  const statisticsByName = new Map(table.statistics.map((spec) => [spec.name, spec]));
  const put = ({ name, shape, offset, size }: TensorSpec, values: Float32Array) =>
    tensors.set(name, floatTensor(shape, values.subarray(offset, offset + size)));
  for (const spec of table.parameters) {
    put(spec, parameters);
    if (spec.kind !== "bn_beta") continue;
    const norm = spec.name.slice(0, -".bias".length);
    for (const name of [`${norm}.running_mean`, `${norm}.running_var`])
      put(statisticsByName.get(name)!, statistics);
    const zero = new Uint8Array(8);
    tensors.set(`${norm}.num_batches_tracked`, { dtype: "I64", shape: [], bytes: zero });
  }
  return tensors;
}

/** A whole weights file. */
export function encodeModel(
  table: ParameterTable,
  parameters: Float32Array,
  statistics: Float32Array,
  { which, classes, step, extra }: ModelMetadata,
): Uint8Array {
  return encodeSafetensors(modelTensors(table, parameters, statistics), {
    format: "pt",
    which,
    variant: table.variant,
    classes: JSON.stringify(classes),
    step: String(step),
    ...extra,
  });
}

/**
 * Reads a weights file for the model of `table`. Throws a `SafetensorsError` on a broken file, a
 * `ModelMismatchError` that names the tensor and what the file seems to hold on another model.
 */
export function readModel(bytes: Uint8Array, table: ParameterTable): ModelWeights {
  const file = decodeSafetensors(bytes);
  const parameters = new Float32Array(table.parameterCount);
  const statistics = new Float32Array(table.statisticsCount);
  const known = new Set<string>();
  const take = (spec: TensorSpec, into: Float32Array) => {
    known.add(spec.name);
    const tensor = file.tensors.get(spec.name);
    const got = tensor ? `[${tensor.shape.join(", ")}]` : "no such tensor";
    if (tensor?.shape.join() !== spec.shape.join())
      throw mismatch(file, table, `${spec.name}: expected [${spec.shape.join(", ")}], got ${got}`);
    if (tensor.dtype !== "F32" && tensor.dtype !== "F16")
      throw mismatch(file, table, `${spec.name}: expected F32 or F16, got ${tensor.dtype}`);
    const values = tensorFloats(tensor);
    if (!values.every(Number.isFinite))
      throw new ModelMismatchError(
        `${spec.name} holds values that are not finite: take other weights`,
      );
    into.set(values, spec.offset);
  };
  for (const spec of table.parameters) take(spec, parameters);
  for (const spec of table.statistics) take(spec, statistics);
  for (const name of file.tensors.keys())
    if (!known.has(name) && !name.endsWith(".num_batches_tracked"))
      throw mismatch(file, table, `${name}: expected no such tensor`);
  return { parameters, statistics, metadata: file.metadata };
}

/** Which model a weights file holds, by its tensors; undefined where it is none of ours. */
export function identifyModel(
  bytes: Uint8Array,
): { variant: VariantName; classes: number; metadata: SafetensorsFile["metadata"] } | undefined {
  const file = decodeSafetensors(bytes);
  const model = modelOf(file);
  return model && { ...model, metadata: file.metadata };
}

function modelOf(file: SafetensorsFile): { variant: VariantName; classes: number } | undefined {
  const head = file.tensors.get("head.fc.weight")?.shape;
  if (head?.length !== 2) return undefined;
  const [classes, channels] = head;
  // Each variant's head has a width of its own.
  const variant = Object.values(VARIANTS).find(({ headChannels }) => headChannels === channels);
  if (!variant || classes < 2) return undefined;
  const table = parameterTable(variant.name, classes);
  const same = table.parameters.every(
    ({ name, shape }) => file.tensors.get(name)?.shape.join() === shape.join(),
  );
  return same ? { variant: variant.name, classes } : undefined;
}

function mismatch(file: SafetensorsFile, table: ParameterTable, what: string): ModelMismatchError {
  const model = modelOf(file);
  const wanted = `mobilevit_${table.variant} with ${table.classes} classes`;
  const advice = model
    ? `The file holds mobilevit_${model.variant} with ${model.classes} classes, not ${wanted}: choose --model and data to match it.`
    : `Weights of ${wanted} with timm names are needed.`;
  return new ModelMismatchError(`${what}. ${advice}`);
}
