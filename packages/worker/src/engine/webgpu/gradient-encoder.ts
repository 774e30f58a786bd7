/** Encodes a node's gradient on the device, to the same bytes as `encodeGradient` on the processor. */

import { type Codec, encodedGradientBytes } from "@swarmvit/shared/codec";
import { BLOCK_VALUES, isExact } from "@swarmvit/shared/int8";
import type { ParameterTable, TensorSpec } from "@swarmvit/shared/parameters";
import { engineShape } from "../layout.ts";
import { createFixedDispatch, type FixedDispatch } from "./fixed-dispatch.ts";
import type { Kernel } from "./kernel.ts";
import {
  exactRowsKernel,
  exponentsKernel,
  halfRowsKernel,
  int8RowsKernel,
  largestRowsKernel,
  ROW_WORDS,
} from "./kernels/gradient-codec.ts";
import type { Pipelines } from "./pipelines.ts";
import type { Region } from "./program.ts";
import type { PaddedLayout } from "./weights.ts";

export interface GradientEncoder {
  /** Compiles kernels; to be awaited before `encode`. */
  prepare(): Promise<void>;
  /** Records encoding the sum in `values`, in the engine's layouts; the bytes then lie in `result`. */
  encode(encoder: GPUCommandEncoder, values: GPUBuffer): void;
  readonly result: Region;
  close(): void;
}

/** One kernel over rows, or over tensors. */
interface Stage {
  readonly kernel: Kernel;
  readonly params: readonly number[];
  buffers(values: GPUBuffer): readonly GPUBuffer[];
}

/** An encoder of one codec for parameters placed as `layout` says. */
export function createGradientEncoder(
  device: GPUDevice,
  pipelines: Pipelines,
  codec: Codec,
  table: ParameterTable,
  layout: PaddedLayout,
  workgroup: number,
): GradientEncoder {
  const owned: GPUBuffer[] = [];
  const make = (bytes: number, usage = 0) => {
    const size = Math.max(16, bytes);
    const buffer = device.createBuffer({
      ...{ label: `gradient as ${codec}`, size, usage: GPUBufferUsage.STORAGE | usage },
    });
    owned.push(buffer);
    return buffer;
  };
  const upload = (words: readonly number[]) => {
    const buffer = make(words.length * 4, GPUBufferUsage.COPY_DST);
    device.queue.writeBuffer(buffer, 0, new Uint32Array(words));
    return buffer;
  };
  const bytes = encodedGradientBytes(codec, table);
  const to = make(bytes, GPUBufferUsage.COPY_SRC);
  /** A kernel over rows, that binds rows, values, and what else it needs. */
  const overRows = (kernel: Kernel, rows: readonly number[], ...rest: GPUBuffer[]): Stage => {
    const uploaded = upload(rows);
    return {
      kernel,
      params: [rows.length / ROW_WORDS],
      buffers: (values) => [uploaded, values, ...rest],
    };
  };

  const stages: Stage[] = [];
  if (codec === "f16") {
    const { rows, tensors } = halfRows(table, layout);
    const largest = make((rows.length / ROW_WORDS) * 4);
    const exponents = make(table.parameters.length * 4);
    const count = table.parameters.length;
    const spans = upload(tensors);
    stages.push(overRows(largestRowsKernel(workgroup), rows, largest), {
      kernel: exponentsKernel(workgroup),
      params: [Math.ceil(count / 2), count],
      buffers: () => [spans, largest, to, exponents],
    });
    stages.push(overRows(halfRowsKernel(workgroup), rows, exponents, to));
  } else {
    const { exact, coded } = codec === "int8" ? int8Rows(table, layout) : exactRows(table, layout);
    stages.push(overRows(exactRowsKernel(workgroup), exact, to));
    if (coded.length > 0) stages.push(overRows(int8RowsKernel(workgroup), coded, to));
  }

  let bound: { readonly values: GPUBuffer; readonly dispatches: readonly FixedDispatch[] };
  const close = () => {
    for (const dispatch of bound?.dispatches ?? []) dispatch.close();
  };
  return {
    prepare: () => pipelines.prepare(stages.map(({ kernel }) => kernel)),
    encode(encoder, values) {
      if (bound?.values !== values) {
        close();
        const dispatches = stages.map(({ kernel, params, buffers }) =>
          createFixedDispatch(device, pipelines, kernel, params, buffers(values)),
        );
        bound = { values, dispatches };
      }
      const pass = encoder.beginComputePass();
      for (const dispatch of bound.dispatches) dispatch.record(pass);
      pass.end();
    },
    result: { buffer: to, offset: 0, bytes },
    close() {
      close();
      for (const buffer of owned) buffer.destroy();
    },
  };
}

interface Rows {
  /** Rows of tensors that stay float32, and of those that become int8. */
  readonly exact: readonly number[];
  readonly coded: readonly number[];
}

/** f32: every tensor as it is. */
function exactRows(table: ParameterTable, layout: PaddedLayout): Rows {
  const exact: number[] = [];
  for (const tensor of table.parameters)
    for (const { first, count, row } of runsOf(tensor, layout))
      exact.push(...row(count, tensor.offset + first, 0));
  return { exact, coded: [] };
}

/** int8: scales, then 1-D tensors, then codes (shared/int8.ts). */
function int8Rows(table: ParameterTable, layout: PaddedLayout): Rows {
  const [exact, coded]: number[][] = [[], []];
  const quantised = table.parameters.filter((tensor) => !isExact(tensor));
  const blocks = quantised.reduce((sum, { size }) => sum + Math.ceil(size / BLOCK_VALUES), 0);
  let exactAt = blocks;
  for (const tensor of table.parameters.filter(isExact)) {
    for (const { first, count, row } of runsOf(tensor, layout))
      exact.push(...row(count, exactAt + first, 0));
    exactAt += tensor.size;
  }
  let [block, code] = [0, exactAt * 4];
  for (const tensor of quantised) {
    for (const { first, count, row } of runsOf(tensor, layout))
      coded.push(...row(count, wordAt(code + first, tensor), block++));
    code += tensor.size;
  }
  return { exact, coded };
}

/** f16: one exponent a tensor, then halves; and [first row, rows] of each tensor. */
function halfRows(table: ParameterTable, layout: PaddedLayout) {
  const [rows, tensors]: number[][] = [[], []];
  const halves = Math.ceil(table.parameters.length / 2) * 4;
  table.parameters.forEach((tensor, t) => {
    const runs = runsOf(tensor, layout);
    tensors.push(rows.length / ROW_WORDS, runs.length);
    for (const { first, count, row } of runs)
      rows.push(...row(count, wordAt(halves + 2 * (tensor.offset + first), tensor), t));
  });
  return { rows, tensors };
}

/** Runs of at most 256 values of a tensor, and the words of each one's row. */
function runsOf(tensor: TensorSpec, layout: PaddedLayout) {
  const { name, size, shape } = tensor;
  const place = layout.offsets.get(name) ?? 0;
  const turned = shape.length === 4 && engineShape(tensor).length > 2;
  const dims = turned ? [shape[0], shape[1], shape[2] * shape[3]] : [1, size, 1];
  return Array.from({ length: Math.ceil(size / BLOCK_VALUES) }, (_, i) => {
    const first = i * BLOCK_VALUES;
    const count = Math.min(BLOCK_VALUES, size - first);
    const row = (values: number, at: number, slot: number) => [
      ...[place, first, values, at],
      ...[...dims, slot],
    ];
    return { first, count, row };
  });
}

/** The word of a byte. Kernels write whole words, so only the last tensor may end within one. */
function wordAt(byte: number, { name }: TensorSpec): number {
  if (byte % 4 !== 0)
    throw new Error(`${name} begins within a word (byte ${byte}): encode it elsewhere`);
  return byte / 4;
}
