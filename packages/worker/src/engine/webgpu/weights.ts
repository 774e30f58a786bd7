/** A model's weights on a device: each tensor at its own aligned place in one buffer. */

import { type ParameterTable, parameterTable, type TensorSpec } from "@swarmvit/shared/parameters";
import type { ModelConfig } from "../executor.ts";
import { createFoldableWeights, type FoldableWeights } from "../fold.ts";
import type { Value } from "../graph.ts";
import { fromEngineLayout, toEngineLayout } from "../layout.ts";
import type { Region } from "./program.ts";

/** Bindings begin at multiples of this many floats (256 bytes). */
const ALIGNMENT = 64;

/** Tensors of a table one after the other, each at an aligned offset. */
export interface PaddedLayout {
  readonly specs: readonly TensorSpec[];
  /** First float of each tensor, by name. */
  readonly offsets: ReadonlyMap<string, number>;
  /** Floats of the whole. */
  readonly length: number;
}

/** Places tensors in their order, as the plan places gradients and statistics. */
export function paddedLayout(specs: readonly TensorSpec[]): PaddedLayout {
  const offsets = new Map<string, number>();
  let length = 0;
  for (const { name, size } of specs) {
    offsets.set(name, length);
    length += Math.ceil(size / ALIGNMENT) * ALIGNMENT;
  }
  return { specs, offsets, length };
}

/** PyTorch's layouts, dense → the engine's, padded. */
export function toDevice(layout: PaddedLayout, vector: Float32Array): Float32Array<ArrayBuffer> {
  const engine = toEngineLayout(layout.specs, vector);
  const padded = new Float32Array(layout.length);
  for (const { name, offset, size } of layout.specs)
    padded.set(engine.subarray(offset, offset + size), layout.offsets.get(name));
  return padded;
}

/** The engine's layouts, padded → PyTorch's, dense. */
export function fromDevice(layout: PaddedLayout, padded: Float32Array): Float32Array {
  const last = layout.specs.at(-1);
  const engine = new Float32Array(last ? last.offset + last.size : 0);
  for (const { name, offset, size } of layout.specs) {
    const at = layout.offsets.get(name) ?? 0;
    engine.set(padded.subarray(at, at + size), offset);
  }
  return fromEngineLayout(layout.specs, engine);
}

export interface DeviceWeights extends FoldableWeights {
  readonly parameters: PaddedLayout;
  readonly statistics: PaddedLayout;
  readonly table: ParameterTable;
  /** Where a parameter or a running statistic lies. */
  region(value: Value): Region;
  close(): void;
}

/** Buffers for the weights and running statistics of a model. */
export function createWeights(device: GPUDevice, config: ModelConfig): DeviceWeights {
  const table = parameterTable(config.variant, config.classes);
  const parameters = paddedLayout(table.parameters);
  const statistics = paddedLayout(table.statistics);
  const make = (label: string, { length }: PaddedLayout) =>
    device.createBuffer({
      ...{ label, size: length * 4 },
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
    });
  const buffers = {
    parameters: make("parameters", parameters),
    statistics: make("running statistics", statistics),
  };
  const place = (layout: PaddedLayout, buffer: GPUBuffer, name: string): Region => {
    const spec = layout.specs.find((candidate) => candidate.name === name);
    const offset = layout.offsets.get(name);
    if (!spec || offset === undefined) throw new Error(`the model has no tensor ${name}`);
    return { buffer, offset: offset * 4, bytes: spec.size * 4 };
  };
  const { set, need } = createFoldableWeights(config, (values, running) => {
    device.queue.writeBuffer(buffers.parameters, 0, toDevice(parameters, values));
    if (running) device.queue.writeBuffer(buffers.statistics, 0, toDevice(statistics, running));
  });
  return {
    parameters,
    statistics,
    table,
    set,
    need,
    region({ role }) {
      if (role.kind === "parameter") return place(parameters, buffers.parameters, role.name);
      if (role.kind === "runningMean")
        return place(statistics, buffers.statistics, `${role.name}.running_mean`);
      if (role.kind === "runningVariance")
        return place(statistics, buffers.statistics, `${role.name}.running_var`);
      throw new Error(`a value of kind ${role.kind} has no place among the weights`);
    },
    close() {
      buffers.parameters.destroy();
      buffers.statistics.destroy();
    },
  };
}
