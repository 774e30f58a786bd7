/**
 * What the lowering of every operation uses: shapes and addresses of values, and the program that
 * grows command by command.
 */

import type { Graph, ValueId } from "../graph.ts";
import { elements } from "../graph-builder.ts";
import { type CommandName, opcode } from "./opcodes.ts";
import type { PackedForm } from "./packing.ts";

/** Where things lie in memory, as byte addresses. */
export interface Addresses {
  value(id: ValueId): number;
  packed(weight: ValueId, form: PackedForm): number;
  /** At least `zeroBytes(graph)` zeros. */
  readonly zeros: number;
  /** Room for parts, of `Program.partsBytes`. */
  readonly parts: number;
}

export interface Program {
  readonly words: Int32Array;
  /** For each operation of the graph, its first word. */
  readonly starts: readonly number[];
  /** Bytes of parts that the program uses. */
  readonly partsBytes: number;
  /** Bytes of scratch memory that each thread needs. */
  readonly scratchBytes: number;
  /** Words that hold the seed of a dropout site; they are set for each unit. */
  readonly seeds: readonly { readonly word: number; readonly site: string }[];
}

export interface Lowering {
  shape(id: ValueId): readonly number[];
  /** Shape [B, H, W, C]. */
  image(id: ValueId): readonly [number, number, number, number];
  /** Extent of the last axis, and the number of rows of that length. */
  channels(id: ValueId): number;
  rows(id: ValueId): number;
  size(id: ValueId): number;
  at(id: ValueId): number;
  /** 0 where there is no value. */
  optional(id: ValueId | undefined): number;
  packed(weight: ValueId, form: PackedForm): number;
  readonly zeros: number;
  /** Notes that the next operation's commands follow. */
  begin(): void;
  /** Appends a command; the index of its first word. */
  command(name: CommandName, tasks: number, ...args: number[]): number;
  /** Addresses of consecutive regions of parts, valid until the next call. */
  parts(...floats: number[]): number[];
  /** Asks for scratch memory of each thread. */
  scratch(floats: number): void;
  /** Notes a word that holds a site's seed. */
  seed(word: number, site: string): void;
  /** Where chunks put their part of a sum: the result itself if there is one chunk only. */
  summed(
    chunks: number,
    results: readonly (readonly [address: number, floats: number])[],
  ): { readonly places: readonly number[]; finish(): void };
  finish(): Program;
}

/** Elements that a task of `sumParts` covers, as in `assembly/product.ts`. */
const SUM_BLOCK = 4096;

/** Starts an empty program. */
export function createLowering(graph: Graph, addresses: Addresses): Lowering {
  const words: number[] = [];
  const starts: number[] = [];
  const seeds: { word: number; site: string }[] = [];
  let partsBytes = 0;
  let scratchBytes = 256;
  const shape = (id: ValueId) => graph.values[id].shape;
  const channels = (id: ValueId) => shape(id).at(-1) as number;
  const size = (id: ValueId) => elements(shape(id));
  const command: Lowering["command"] = (name, tasks, ...args) => {
    const at = words.length;
    words.push(opcode(name), tasks, args.length + 3, ...args);
    return at;
  };
  const parts: Lowering["parts"] = (...floats) => {
    let end = 0;
    const starts = floats.map((count) => {
      const start = end;
      end += Math.ceil((count * 4) / 64) * 64;
      return addresses.parts + start;
    });
    partsBytes = Math.max(partsBytes, end);
    return starts;
  };
  return {
    shape,
    image: (id) => shape(id) as readonly [number, number, number, number],
    channels,
    rows: (id) => size(id) / channels(id),
    size,
    at: (id) => addresses.value(id),
    optional: (id) => (id === undefined ? 0 : addresses.value(id)),
    packed: (weight, form) => addresses.packed(weight, form),
    zeros: addresses.zeros,
    begin: () => void starts.push(words.length),
    command,
    parts,
    scratch(floats) {
      // room beyond the end, where kernels store whole vectors
      scratchBytes = Math.max(scratchBytes, Math.ceil((floats * 4) / 64) * 64 + 64);
    },
    seed: (word, site) => seeds.push({ word, site }),
    summed(chunks, results) {
      if (chunks === 1) return { places: results.map(([address]) => address), finish: () => {} };
      const places = parts(...results.map(([, floats]) => floats * chunks));
      const finish = () =>
        results.forEach(([address, floats], i) => {
          const tasks = Math.ceil(floats / SUM_BLOCK);
          command("sumParts", tasks, places[i], address, floats, chunks);
        });
      return { places, finish };
    },
    finish: () => ({ words: Int32Array.from(words), starts, partsBytes, scratchBytes, seeds }),
  };
}

/** A float as a word of a command. */
export function float32Bits(x: number): number {
  return new Int32Array(Float32Array.of(x).buffer)[0];
}
