/**
 * A graph as a program of the kernels' commands: 32-bit words `[opcode, tasks, words, arguments…]`.
 *
 * How a command is cut into tasks follows from shapes alone, so the bits of a result do not depend
 * on how many threads there are. Sums over many rows are taken in chunks ("parts") and added up by
 * a command of their own.
 */

import { dropoutThreshold } from "@swarmvit/shared/random";
import type { Activation, Graph, Operation, ValueId } from "../graph.ts";
import { elements } from "../graph-builder.ts";
import { COMMANDS, type CommandName, opcode } from "./opcodes.ts";
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
  /** Bytes of parts that the program uses. */
  readonly partsBytes: number;
  /** Bytes of scratch memory that each thread needs. */
  readonly scratchBytes: number;
  /** Words that hold the seed of a dropout site; they are set for each unit. */
  readonly seeds: readonly { readonly word: number; readonly site: string }[];
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

/** Elements that a task of a flat operation covers, as in `assembly/elementwise.ts`. */
const BLOCK = 16384;
/** Elements that a task of `sumParts` covers. */
const SUM_BLOCK = 4096;
/** Rows that weight gradients multiply at once, as in `assembly/product.ts`. */
const DEPTH = 128;

const ACTIVATIONS: Readonly<Record<Activation, number>> = { none: 0, silu: 1, relu: 2 };

/** Lowers a graph. */
export function lower(graph: Graph, addresses: Addresses): Program {
  const writer = createWriter(addresses);
  for (const operation of graph.operations) emit(operation, graph, addresses, writer);
  return writer.finish();
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

interface Writer {
  command(name: CommandName, tasks: number, ...args: number[]): number;
  /** Addresses of consecutive regions of parts, valid until the next call. */
  parts(...floats: number[]): number[];
  scratch(floats: number): void;
  seed(word: number, site: string): void;
  finish(): Program;
}

function createWriter({ parts }: Addresses): Writer {
  const words: number[] = [];
  const seeds: { word: number; site: string }[] = [];
  let partsBytes = 0;
  let scratchBytes = 256;
  return {
    command(name, tasks, ...args) {
      const at = words.length;
      words.push(opcode(name), tasks, args.length + 3, ...args);
      return at;
    },
    parts(...floats) {
      let end = 0;
      const starts = floats.map((count) => {
        const start = end;
        end += Math.ceil((count * 4) / 64) * 64;
        return parts + start;
      });
      partsBytes = Math.max(partsBytes, end);
      return starts;
    },
    scratch(floats) {
      // room beyond the end, where kernels store whole vectors
      scratchBytes = Math.max(scratchBytes, Math.ceil((floats * 4) / 64) * 64 + 64);
    },
    seed: (word, site) => seeds.push({ word, site }),
    finish: () => ({ words: Int32Array.from(words), partsBytes, scratchBytes, seeds }),
  };
}

function emit(o: Operation, graph: Graph, addresses: Addresses, writer: Writer): void {
  const shape = (id: ValueId) => graph.values[id].shape;
  const at = (id: ValueId) => addresses.value(id);
  const optional = (id: ValueId | undefined) => (id === undefined ? 0 : addresses.value(id));
  const channels = (id: ValueId) => shape(id).at(-1) as number;
  const size = (id: ValueId) => elements(shape(id));
  const rows = (id: ValueId) => size(id) / channels(id);
  /** Two words of geometry less: extents of an image. */
  const image = (id: ValueId) => shape(id) as readonly [number, number, number, number];
  const { command } = writer;

  const product = (x: number, panels: number, bias: number, y: number, mkn: number[]) => {
    const [m, k, n] = mkn;
    const block = rowBlock(m, k, 16384, 256);
    writer.scratch(block * k);
    command("linear", Math.ceil(m / block), x, panels, bias, y, m, k, n, block);
  };
  /** Where chunks put their part of a sum: the result itself if there is one chunk only. */
  const summed = (chunks: number, results: readonly [address: number, floats: number][]) => {
    if (chunks === 1) return { places: results.map(([address]) => address), finish: () => {} };
    const places = writer.parts(...results.map(([, floats]) => floats * chunks));
    const finish = () =>
      results.forEach(([address, floats], i) => {
        const tasks = Math.ceil(floats / SUM_BLOCK);
        command("sumParts", tasks, places[i], address, floats, chunks);
      });
    return { places, finish };
  };

  switch (o.op) {
    case "linear": {
      const mkn = [rows(o.x), channels(o.x), channels(o.y)];
      product(at(o.x), addresses.packed(o.w, "forward"), optional(o.bias), at(o.y), mkn);
      return;
    }
    case "linearInputGrad": {
      const mkn = [rows(o.dy), channels(o.dy), channels(o.dx)];
      product(at(o.dy), addresses.packed(o.w, "backward"), 0, at(o.dx), mkn);
      return;
    }
    case "linearWeightGrad": {
      const [m, k, n] = [rows(o.x), channels(o.x), channels(o.dy)];
      const chunk = chunkRows(m, n * k);
      const chunks = Math.ceil(m / chunk);
      const block = chunks >= 4 ? 64 : 32;
      const blocks = Math.ceil(n / block);
      const results: [number, number][] = [[at(o.dw), n * k]];
      if (o.dbias !== undefined) results.push([at(o.dbias), n]);
      const { places, finish } = summed(chunks, results);
      const [dw, dbias = 0] = places;
      const sizes = [m, k, n, chunk, block, blocks];
      command("linearWeightGrad", chunks * blocks, at(o.x), at(o.dy), dw, dbias, ...sizes);
      finish();
      return;
    }
    case "conv":
    case "convInputGrad": {
      const forward = o.op === "conv";
      const [source, y] = forward ? [o.x, o.y] : [o.dy, o.dx];
      const [b, h, w, n] = image(y);
      const [, sourceH, sourceW, c] = image(source);
      const block = rowBlock(b * h * w, 9 * c, 32768, 64);
      writer.scratch(block * 9 * c);
      const panels = addresses.packed(o.w, forward ? "forward" : "backward");
      const steps = forward ? [o.stride, o.dilation, 1] : [1, o.dilation, o.stride];
      const geometry = [at(source), addresses.zeros, sourceH, sourceW, c, h, w, ...steps];
      const tasks = Math.ceil((b * h * w) / block);
      command("convolution", tasks, panels, at(y), b * h * w, n, block, ...geometry);
      return;
    }
    case "convWeightGrad": {
      const [b, h, w, n] = image(o.dy);
      const [, sourceH, sourceW, c] = image(o.x);
      const m = b * h * w;
      const groups = c < 16 ? 1 : 9;
      const chunk = chunkRows(m, 9 * c * n);
      const chunks = Math.ceil(m / chunk);
      writer.scratch(DEPTH * (9 / groups) * c);
      const { places, finish } = summed(chunks, [[at(o.dw), 9 * c * n]]);
      const steps = [o.stride, o.dilation, 1];
      const geometry = [at(o.x), addresses.zeros, sourceH, sourceW, c, h, w, ...steps];
      const sizes = [m, n, chunk, groups];
      const tasks = chunks * groups;
      command("convolutionWeightGrad", tasks, at(o.dy), places[0], ...sizes, ...geometry);
      finish();
      return;
    }
    case "depthwise": {
      const [b, h, w, c] = image(o.x);
      const [, outH, outW] = image(o.y);
      const block = Math.max(1, Math.floor(32768 / (outW * c)));
      const sizes = [b, h, w, c, outH, outW, o.stride, o.dilation, 0, block];
      const tasks = Math.ceil((b * outH) / block);
      command("depthwise", tasks, at(o.x), at(o.w), at(o.y), addresses.zeros, ...sizes);
      return;
    }
    case "depthwiseInputGrad": {
      const [b, h, w, c] = image(o.dx);
      const [, outH, outW] = image(o.dy);
      const block = Math.max(1, Math.floor(32768 / (w * c)));
      const tasks = Math.ceil((b * h) / block);
      const places = [at(o.dy), at(o.w), at(o.dx), addresses.zeros];
      const sizes = [b, h, w, c, outH, outW, o.stride, o.dilation, 1, block];
      command(o.stride === 1 ? "depthwise" : "depthwiseSpread", tasks, ...places, ...sizes);
      return;
    }
    case "depthwiseWeightGrad": {
      const [b, h, w, c] = image(o.x);
      const [, outH, outW] = image(o.dy);
      const band = Math.max(1, Math.floor(4096 / (outW * c)));
      const chunk = Math.max(Math.ceil(65536 / (outW * c)), Math.ceil((b * outH) / 32));
      const chunks = Math.ceil((b * outH) / chunk);
      const { places, finish } = summed(chunks, [[at(o.dw), 9 * c]]);
      const sizes = [b, h, w, c, outH, outW, o.stride, o.dilation, chunk, band];
      const addressesOf = [at(o.x), at(o.dy), places[0], addresses.zeros];
      command("depthwiseWeightGrad", chunks, ...addressesOf, ...sizes);
      finish();
      return;
    }
    case "batchNorm": {
      const [r, c] = [rows(o.x), channels(o.x)];
      const block = normRows(r, c);
      const chunks = Math.ceil(r / block);
      const [parts] = writer.parts(chunks * 2 * c);
      const results = [at(o.mean), at(o.variance), at(o.rstd)];
      const affine = [at(o.gamma), at(o.beta)];
      command("batchNormSums", chunks, at(o.x), parts, r, c, block);
      const tasks = Math.ceil(c / 16);
      command("batchNormFinish", tasks, at(o.x), parts, r, c, block, chunks, ...results);
      const moments = [at(o.mean), at(o.rstd)];
      const act = ACTIVATIONS[o.act];
      command("batchNormApply", chunks, at(o.x), ...affine, ...moments, at(o.y), r, c, block, act);
      return;
    }
    case "batchNormEval": {
      const [r, c] = [rows(o.x), channels(o.x)];
      const block = normRows(r, c);
      const tasks = Math.ceil(r / block);
      const [rstd] = writer.parts(c);
      const affine = [at(o.gamma), at(o.beta)];
      command("batchNormRunning", 1, at(o.variance), rstd, c);
      const act = ACTIVATIONS[o.act];
      command(
        "batchNormApply",
        tasks,
        at(o.x),
        ...affine,
        at(o.mean),
        rstd,
        at(o.y),
        r,
        c,
        block,
        act,
      );
      return;
    }
    case "batchNormGrad": {
      const [r, c] = [rows(o.x), channels(o.x)];
      const block = normRows(r, c);
      const chunks = Math.ceil(r / block);
      const { places, finish } = summed(chunks, [
        [at(o.dbeta), c],
        [at(o.dgamma), c],
      ]);
      const dz = o.act === "none" ? at(o.dy) : at(o.dx);
      const affine = [at(o.gamma), at(o.beta), at(o.mean), at(o.rstd)];
      const sizes = [r, c, block];
      const act = ACTIVATIONS[o.act];
      command(
        "batchNormGradSums",
        chunks,
        ...[at(o.x), ...affine, at(o.dy), dz, ...places, ...sizes, act],
      );
      finish();
      const moments = [at(o.gamma), at(o.mean), at(o.rstd)];
      const sums = [at(o.dbeta), at(o.dgamma)];
      command("batchNormGradApply", chunks, at(o.x), ...moments, dz, ...sums, at(o.dx), ...sizes);
      return;
    }
    case "layerNorm": {
      const [r, c] = [rows(o.x), channels(o.x)];
      const block = Math.ceil(BLOCK / c);
      const affine = [at(o.gamma), at(o.beta)];
      const results = [at(o.y), at(o.mean), at(o.rstd)];
      command("layerNorm", Math.ceil(r / block), at(o.x), ...affine, ...results, r, c, block);
      return;
    }
    case "layerNormGrad": {
      const [r, c] = [rows(o.x), channels(o.x)];
      const block = Math.max(64, Math.ceil(r / 32));
      const chunks = Math.ceil(r / block);
      const { places, finish } = summed(chunks, [
        [at(o.dgamma), c],
        [at(o.dbeta), c],
      ]);
      const inputs = [at(o.x), at(o.gamma), at(o.mean), at(o.rstd), at(o.dy)];
      command("layerNormGrad", chunks, ...inputs, at(o.dx), ...places, r, c, block);
      finish();
      return;
    }
    case "attention":
    case "attentionGrad": {
      const [s, n, d] = shape(o.y);
      const width = d / o.heads;
      const padded = Math.ceil(n / 4) * 4;
      const scale = float32Bits(1 / Math.sqrt(width));
      const places = [at(o.qkv), at(o.y), at(o.logSumExp)];
      if (o.op === "attention") {
        writer.scratch(padded * width + 8 * width + 8 * padded);
        command("attention", s * o.heads, ...places, n, d, o.heads, scale);
      } else {
        writer.scratch(2 * padded * width + 24 * width + 16 * padded + 64 * padded);
        const more = [at(o.dy), at(o.dqkv)];
        command("attentionGrad", s * o.heads, ...places, ...more, n, d, o.heads, scale);
      }
      return;
    }
    case "silu":
      command("silu", Math.ceil(size(o.x) / BLOCK), at(o.x), at(o.y), size(o.x));
      return;
    case "siluGrad": {
      const places = [at(o.x), at(o.dy), at(o.dx)];
      command("siluGrad", Math.ceil(size(o.x) / BLOCK), ...places, size(o.x));
      return;
    }
    case "add":
      command("add", Math.ceil(size(o.y) / BLOCK), at(o.a), at(o.b), at(o.y), size(o.y));
      return;
    case "dropout": {
      const tasks = Math.ceil(size(o.y) / BLOCK);
      const chance = [dropoutThreshold(o.p), float32Bits(1 / (1 - o.p))];
      const places = [at(o.x), optional(o.residual), at(o.y)];
      const word = command("dropout", tasks, ...places, size(o.y), 0, ...chance);
      writer.seed(word + 3 + 4, o.site);
      return;
    }
    case "unfold":
    case "fold": {
      const inverse = o.op === "fold";
      const [b, h, w, c] = image(inverse ? o.y : o.x);
      const block = Math.max(1, Math.floor(BLOCK / (w * c)));
      const sizes = [h, w, c, inverse ? 1 : 0, block, b * h];
      command("unfold", Math.ceil((b * h) / block), at(o.x), at(o.y), ...sizes);
      return;
    }
    case "concat":
    case "split": {
      const r = rows(o.y);
      const block = Math.max(1, Math.floor(BLOCK / channels(o.y)));
      const sizes = [r, channels(o.a), channels(o.b), block];
      command(o.op, Math.ceil(r / block), at(o.a), at(o.b), at(o.y), ...sizes);
      return;
    }
    case "resize":
    case "resizeGrad": {
      const [from, to] = o.op === "resize" ? [o.x, o.y] : [o.dy, o.dx];
      const [b, h, w, c] = image(o.op === "resize" ? from : to);
      const [, outH, outW] = image(o.op === "resize" ? to : from);
      command(o.op, b, at(from), at(to), h, w, c, outH, outW);
      return;
    }
    case "meanPool": {
      const [b, h, w, c] = image(o.x);
      command("meanPool", b, at(o.x), at(o.y), h * w, c);
      return;
    }
    case "meanPoolGrad": {
      const [b, h, w, c] = image(o.dx);
      command("meanPoolGrad", b, at(o.dy), at(o.dx), h * w, c);
      return;
    }
    case "crossEntropy": {
      const [b, k] = shape(o.logits);
      writer.scratch(k);
      const places = [at(o.logits), at(o.labels), optional(o.dlogits), at(o.report)];
      command("crossEntropy", 1, ...places, b, k, float32Bits(o.smoothing));
      return;
    }
  }
}

/** Rows that a task packs: as many as stay in cache, few enough that threads find work. */
function rowBlock(m: number, k: number, floats: number, most: number): number {
  const fit = Math.max(4, Math.min(most, Math.floor(floats / k)));
  const fair = Math.max(16, Math.ceil(m / 16));
  return Math.ceil(Math.min(fit, fair) / 4) * 4;
}

/** Rows of a chunk of a weight gradient of so many floats: at most 16 chunks, 4 MiB of parts. */
function chunkRows(m: number, floats: number): number {
  const chunks = Math.max(1, Math.min(16, Math.floor(m / 512), Math.floor(2 ** 20 / floats)));
  return Math.ceil(m / chunks / DEPTH) * DEPTH;
}

/** Rows of a chunk of a batch norm: some 64 KiB, at most 64 chunks. */
function normRows(r: number, c: number): number {
  return Math.max(Math.ceil(BLOCK / c), Math.ceil(r / 64));
}

function float32Bits(x: number): number {
  return new Int32Array(Float32Array.of(x).buffer)[0];
}
