/** Attention, flat operations, copies, resizes and the loss as commands. */

import { dropoutThreshold } from "@swarmvit/shared/random";
import type { Operation } from "../graph.ts";
import type { NormOperation } from "./lower-norms.ts";
import type { ProductOperation } from "./lower-products.ts";
import { float32Bits, type Lowering } from "./lowering.ts";

/** Elements that a task of a flat operation covers, as in `assembly/elementwise.ts`. */
const BLOCK = 16384;

/** Appends the commands of any other operation. */
export function lowerOther(
  o: Exclude<Operation, ProductOperation | NormOperation>,
  lowering: Lowering,
): void {
  const { at, channels, command, image, optional, rows, scratch, seed, shape, size } = lowering;
  switch (o.op) {
    case "attention":
    case "attentionGrad": {
      const [s, n, d] = shape(o.y);
      const width = d / o.heads;
      const padded = Math.ceil(n / 4) * 4;
      const scale = float32Bits(1 / Math.sqrt(width));
      const places = [at(o.qkv), at(o.y), at(o.logSumExp)];
      if (o.op === "attention") {
        scratch(padded * width + 8 * width + 8 * padded);
        command("attention", s * o.heads, ...places, n, d, o.heads, scale);
      } else {
        scratch(2 * padded * width + 24 * width + 16 * padded + 64 * padded);
        const more = [at(o.dy), at(o.dqkv)];
        command("attentionGrad", s * o.heads, ...places, ...more, n, d, o.heads, scale);
      }
      return;
    }
    case "silu":
      command("silu", Math.ceil(size(o.x) / BLOCK), at(o.x), at(o.y), size(o.x));
      return;
    case "siluGrad": {
      const places = [at(o.x), optional(o.y), at(o.dy), at(o.dx)];
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
      seed(word + 3 + 4, o.site);
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
      scratch(k);
      const places = [at(o.logits), at(o.labels), optional(o.dlogits), at(o.report)];
      command("crossEntropy", 1, ...places, b, k, float32Bits(o.smoothing));
      return;
    }
  }
}
