/** The state of lowering one planned graph: what kernels need to know, and slabs waiting to be added. */

import type { Graph, ValueId } from "../graph.ts";
import { elements } from "../graph-builder.ts";
import type { Plan } from "../plan.ts";
import type { Binding, Dispatch } from "./dispatch.ts";
import { type Kernel, type Width, widthOf } from "./kernel.ts";
import type { KernelOptions } from "./kernel-options.ts";
import { floatsPerChunk, slabSumKernel } from "./kernels/sums.ts";

/** Slabs that wait are added at the latest when they fill this much. */
const SLAB_BYTES = 16 * 2 ** 20;

export interface Lowering {
  readonly options: KernelOptions;
  readonly graph: Graph;
  shape(id: ValueId): readonly number[];
  /** The widest vector load that divides these lengths, as far as the device likes them wide. */
  width(...lengths: readonly number[]): Width;
  emit(
    kernel: Kernel,
    params: readonly number[],
    bindings: readonly Binding[],
    work?: number,
  ): void;
  /** Scratch memory until the next operation (bank 0 or 1), of `floats` numbers. */
  scratch(bank: 0 | 1, floats: number): Binding;
  /**
   * Room for `count` slabs of a sum that ends in `target`: bind it, write slab s at s·stride floats.
   * With one slab that is the target itself. Call before the `emit` that fills it.
   */
  slabs(target: ValueId, count: number): { binding: Binding; stride: number };
  /** Rows of [M] that each of several slabs takes, so that slabs times `others` invocations suffice. */
  cut(rows: number, others: number, least: number): { rowsPerSlab: number; slabs: number };
  /** Adds what waits; to be called after the last operation. */
  flush(): void;
  readonly dispatches: readonly Dispatch[];
  /** Bytes of scratch banks 0, 1 and 2. */
  readonly scratchBytes: readonly number[];
}

interface Waiting {
  readonly target: ValueId;
  readonly offset: number;
  readonly stride: number;
  readonly floats: number;
  readonly count: number;
}

/** Starts lowering a planned graph. */
export function startLowering(plan: Plan, options: KernelOptions): Lowering {
  const dispatches: Dispatch[] = [];
  const scratchBytes = [0, 0, 0];
  let waiting: Waiting[] = [];
  let filled = 0;

  const shape = (id: ValueId) => plan.graph.values[id].shape;
  const emit: Lowering["emit"] = (kernel, params, bindings, work = params[0] * 16) => {
    if (params.length !== kernel.params.length || bindings.length !== kernel.access.length)
      throw new Error(
        `${kernel.key} takes ${kernel.params.length} parameters and ${kernel.access.length} bindings, got ${params.length} and ${bindings.length}`,
      );
    dispatches.push({ kernel, params, bindings, work });
  };
  const inGradients = (id: ValueId) =>
    plan.buffers[plan.places[id]?.buffer ?? -1]?.kind === "gradient";
  const chunksOf = (list: readonly Waiting[], base: (id: ValueId) => number) => {
    const size = floatsPerChunk(options.workgroup);
    const rows: number[] = [];
    for (const { target, offset, stride, floats, count } of list)
      for (let at = 0; at < floats; at += size) {
        const length = Math.ceil(Math.min(size, floats - at) / 4);
        rows.push(
          (base(target) + at) / 4,
          (offset + at) / 4,
          stride / 4,
          (count | (length << 16)) >>> 0,
        );
      }
    return new Uint32Array(rows);
  };
  const sum = (list: readonly Waiting[], into: Binding, base: (id: ValueId) => number) => {
    if (list.length === 0) return;
    const chunks = chunksOf(list, base);
    const work = list.reduce((total, { floats, count }) => total + floats * count, 0);
    emit(
      slabSumKernel(options.workgroup),
      [(chunks.length / 4) * options.workgroup],
      [{ chunks }, { bank: 2, offset: 0, bytes: filled * 4 }, into],
      work,
    );
  };
  const flush = () => {
    const offsetOf = (id: ValueId) => (plan.places[id]?.offset ?? 0) / 4;
    sum(
      waiting.filter(({ target }) => inGradients(target)),
      { gradients: true },
      offsetOf,
    );
    for (const entry of waiting.filter(({ target }) => !inGradients(target)))
      sum([entry], { value: entry.target }, () => 0);
    waiting = [];
    filled = 0;
  };

  return {
    options,
    graph: plan.graph,
    shape,
    width: (...lengths) => (options.compact ? 1 : widthOf(...lengths)),
    emit,
    scratch(bank, floats) {
      const bytes = Math.ceil(floats / 4) * 16;
      scratchBytes[bank] = Math.max(scratchBytes[bank], bytes);
      return { bank, offset: 0, bytes };
    },
    slabs(target, count) {
      const floats = elements(shape(target));
      if (count === 1) return { binding: { value: target }, stride: 0 };
      const stride = Math.ceil(floats / 4) * 4;
      const room = Math.ceil((stride * count) / 64) * 64;
      if (filled > 0 && (filled + room) * 4 > SLAB_BYTES) flush();
      const offset = filled;
      waiting.push({ target, offset, stride, floats, count });
      filled += room;
      scratchBytes[2] = Math.max(scratchBytes[2], filled * 4);
      return { binding: { bank: 2, offset: offset * 4, bytes: stride * count * 4 }, stride };
    },
    cut(rows, others, least) {
      const wanted = Math.ceil(options.parallel / others);
      const slabs = Math.max(1, Math.min(wanted, Math.floor(rows / least), 1024));
      const rowsPerSlab = Math.ceil(rows / slabs);
      return { rowsPerSlab, slabs: Math.ceil(rows / rowsPerSlab) };
    },
    flush,
    dispatches,
    scratchBytes,
  };
}
