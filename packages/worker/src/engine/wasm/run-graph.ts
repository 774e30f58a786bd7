/** Any graph on the wasm kernels, once: for tests and self-tests of operations. */

import { siteSeed } from "@swarmvit/shared/random";
import type { Graph, ValueId } from "../graph.ts";
import { elements } from "../graph-builder.ts";
import { plan } from "../plan.ts";
import type { RunGraph } from "../run-graph.ts";
import { keepActivations } from "./fuse.ts";
import { createMachine, type MachineOptions } from "./machine.ts";
import { opcode } from "./opcodes.ts";
import { type PackedForm, packingOf } from "./packing.ts";
import { lower, zeroBytes } from "./program.ts";

/** A `RunGraph` on a machine of its own, and its `close`. */
export async function createWasmRunGraph(
  options: MachineOptions,
): Promise<{ runGraph: RunGraph; close(): Promise<void> }> {
  const machine = await createMachine(options);
  const runGraph: RunGraph = async (built, inputs, seed = 0) => {
    const graph = keepActivations(built);
    let end = machine.base;
    const take = (bytes: number) => {
      const start = end;
      end += Math.ceil(bytes / 64) * 64;
      return start;
    };
    const placed = plan(graph, { alignment: 64 });
    const zeros = take(zeroBytes(graph));
    const zerosEnd = end;
    const arena = take(placed.bytes);
    const outside = new Map<ValueId, number>();
    const packing: number[] = [];
    const packed = new Map<string, number>();
    const value = (id: ValueId) => {
      const place = placed.places[id];
      if (place) return arena + place.offset;
      if (!outside.has(id)) outside.set(id, take(elements(graph.values[id].shape) * 4));
      return outside.get(id) as number;
    };
    for (const { id } of graph.values) value(id);
    const { parts, program } = lowered(graph, {
      value,
      packed(weight: ValueId, form: PackedForm) {
        const key = `${weight} ${form}`;
        let address = packed.get(key);
        if (address === undefined) {
          const { command, sizes, panels, bytes } = packingOf(graph.values[weight].shape, form);
          address = take(bytes);
          packed.set(key, address);
          packing.push(opcode(command), panels, 7, value(weight), address, ...sizes);
        }
        return address;
      },
      zeros,
      end: () => end,
    });
    end = parts;
    take(program.partsBytes);
    const scratch = take(program.scratchBytes * machine.threads);
    const words = [...packing, ...program.words];
    const at = take(words.length * 4);
    machine.reserve(end + 64);

    machine.floats(zeros, (zerosEnd - zeros) / 4).fill(0);
    for (const [id, data] of inputs) machine.floats(value(id), data.length).set(data);
    for (const { word, site } of program.seeds)
      words[packing.length + word] = siteSeed(seed, site) | 0;
    machine.integers(at, words.length).set(words);
    machine.run(at, at + words.length * 4, scratch, program.scratchBytes);
    return new Map(
      graph.outputs.map((id) => [
        id,
        machine.floats(value(id), elements(graph.values[id].shape)).slice(),
      ]),
    );
  };
  return { runGraph, close: () => machine.close() };
}

/** Packed weights are placed while lowering, parts after them: so it is lowered twice. */
function lowered(
  graph: Graph,
  {
    end,
    ...places
  }: Omit<Parameters<typeof lower>[1], "parts"> & {
    end(): number;
  },
) {
  lower(graph, { ...places, parts: 0 });
  const parts = end();
  return { parts, program: lower(graph, { ...places, parts }) };
}
