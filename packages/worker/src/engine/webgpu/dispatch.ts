/** What lowering makes of an operation: kernels with their parameters and bindings. */

import type { ValueId } from "../graph.ts";
import type { Kernel } from "./kernel.ts";

/**
 * A kernel binds values of the graph, scratch memory (bank 0 for partial results, 1 for what the next
 * kernel reads, 2 for slabs of weight gradients), the unit's words [seed, token], or a table of chunks.
 */
export type Binding =
  | { readonly value: ValueId }
  | { readonly bank: ScratchBank; readonly offset: number; readonly bytes: number }
  | { readonly unit: true }
  | { readonly chunks: Uint32Array<ArrayBuffer> }
  /** All gradients at once. */
  | { readonly gradients: true };

export type ScratchBank = 0 | 1 | 2;

export interface Dispatch {
  readonly kernel: Kernel;
  /** In the order of the kernel's parameters. */
  readonly params: readonly number[];
  readonly bindings: readonly Binding[];
  /** Rough work in multiply-adds, to cut a unit into submits of similar length. */
  readonly work: number;
}

/** Invocations of a dispatch: the first parameter of every kernel. */
export function invocationsOf(dispatch: Dispatch): number {
  return dispatch.params[0];
}
