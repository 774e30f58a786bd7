/**
 * A graph as a program of the kernels' commands: 32-bit words `[opcode, tasks, words, arguments…]`.
 *
 * How a command is cut into tasks follows from shapes alone, so the bits of a result do not depend
 * on how many threads there are. Sums over many rows are taken in chunks ("parts") and added up by
 * a command of their own.
 */

import type { Graph } from "../graph.ts";
import { isNorm, lowerNorm } from "./lower-norms.ts";
import { lowerOther } from "./lower-others.ts";
import { isProduct, lowerProduct } from "./lower-products.ts";
import { type Addresses, createLowering, type Program } from "./lowering.ts";
import { COMMANDS, type CommandName } from "./opcodes.ts";

/** Lowers a graph. */
export function lower(graph: Graph, addresses: Addresses): Program {
  const lowering = createLowering(graph, addresses);
  for (const operation of graph.operations) {
    lowering.begin();
    if (isProduct(operation)) lowerProduct(operation, lowering);
    else if (isNorm(operation)) lowerNorm(operation, lowering);
    else lowerOther(operation, lowering);
  }
  return lowering.finish();
}

/** Zeros that stand for rows and pixels outside an image. */
export function zeroBytes(graph: Graph): number {
  let most = 0;
  for (const operation of graph.operations) {
    if (!("stride" in operation)) continue;
    const id = "x" in operation ? operation.x : operation.dy;
    const [, , width, channels] = graph.values[id].shape;
    most = Math.max(most, Math.max(width, 3) * channels);
    if ("dx" in operation) most = Math.max(most, graph.values[operation.dx].shape[2] * channels);
  }
  return most * 4 + 64;
}

/** Splits a program's words into its commands, for profiles and messages. */
export function* commandsOf(words: Int32Array): Generator<{
  readonly name: CommandName;
  readonly word: number;
  readonly length: number;
}> {
  for (let word = 0; word < words.length; word += words[word + 2])
    yield { name: COMMANDS[words[word]], word, length: words[word + 2] };
}
