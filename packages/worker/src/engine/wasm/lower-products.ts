/** Products, convolutions and their gradients as commands. */

import type { Operation } from "../graph.ts";
import type { Lowering } from "./lowering.ts";

const PRODUCTS = [
  "linear",
  "linearInputGrad",
  "linearWeightGrad",
  "conv",
  "convInputGrad",
  "convWeightGrad",
  "depthwise",
  "depthwiseInputGrad",
  "depthwiseWeightGrad",
] as const;

export type ProductOperation = Extract<Operation, { op: (typeof PRODUCTS)[number] }>;

export function isProduct(o: Operation): o is ProductOperation {
  return (PRODUCTS as readonly string[]).includes(o.op);
}

/** Rows that weight gradients multiply at once, as in `assembly/product.ts`. */
const DEPTH = 128;

/** Appends the commands of a product. */
export function lowerProduct(o: ProductOperation, lowering: Lowering): void {
  const { at, channels, command, image, optional, packed, rows, scratch, summed, zeros } = lowering;
  const product = (x: number, panels: number, bias: number, y: number, mkn: number[]) => {
    const [m, k, n] = mkn;
    const block = rowBlock(m, k, 16384, 256);
    scratch(block * k);
    command("linear", Math.ceil(m / block), x, panels, bias, y, m, k, n, block);
  };
  switch (o.op) {
    case "linear": {
      const mkn = [rows(o.x), channels(o.x), channels(o.y)];
      product(at(o.x), packed(o.w, "forward"), optional(o.bias), at(o.y), mkn);
      return;
    }
    case "linearInputGrad": {
      const mkn = [rows(o.dy), channels(o.dy), channels(o.dx)];
      product(at(o.dy), packed(o.w, "backward"), 0, at(o.dx), mkn);
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
      scratch(block * 9 * c);
      const panels = packed(o.w, forward ? "forward" : "backward");
      const steps = forward ? [o.stride, o.dilation, 1] : [1, o.dilation, o.stride];
      const geometry = [at(source), zeros, sourceH, sourceW, c, h, w, ...steps];
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
      scratch(DEPTH * (9 / groups) * c);
      const { places, finish } = summed(chunks, [[at(o.dw), 9 * c * n]]);
      const steps = [o.stride, o.dilation, 1];
      const geometry = [at(o.x), zeros, sourceH, sourceW, c, h, w, ...steps];
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
      command("depthwise", tasks, at(o.x), at(o.w), at(o.y), zeros, ...sizes);
      return;
    }
    case "depthwiseInputGrad": {
      const [b, h, w, c] = image(o.dx);
      const [, outH, outW] = image(o.dy);
      const block = Math.max(1, Math.floor(32768 / (w * c)));
      const tasks = Math.ceil((b * h) / block);
      const places = [at(o.dy), at(o.w), at(o.dx), zeros];
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
      const addressesOf = [at(o.x), at(o.dy), places[0], zeros];
      command("depthwiseWeightGrad", chunks, ...addressesOf, ...sizes);
      finish();
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
