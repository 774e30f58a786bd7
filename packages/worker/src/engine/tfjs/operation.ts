/** One graph operation on TF.js: reads tensors by id, returns the tensors it writes. */

import * as tf from "@tensorflow/tfjs-core";
import type { Operation, ValueId } from "../graph.ts";
import type { TfjsContext } from "./context.ts";
import { crossEntropy } from "./loss.ts";
import {
  activate,
  activateGrad,
  batchNorm,
  batchNormEval,
  batchNormGrad,
  layerNorm,
  layerNormGrad,
} from "./normalisation.ts";
import {
  columnSum,
  conv,
  convInputGrad,
  convWeightGrad,
  depthwise,
  depthwiseInputGrad,
  depthwiseWeightGrad,
  linear,
  linearInputGrad,
  linearWeightGrad,
} from "./products.ts";
import { resize, resizeGrad } from "./resize.ts";
import { attention, attentionGrad, fold, unfold } from "./sequence.ts";

export interface Operands {
  tensor(id: ValueId): tf.Tensor;
  shape(id: ValueId): readonly number[];
}

type Written = readonly (readonly [ValueId, tf.Tensor])[];

/** Runs one operation; call it inside `tf.tidy` and keep what it returns. */
export function runOperation(o: Operation, { tensor, shape }: Operands, c: TfjsContext): Written {
  switch (o.op) {
    case "linear": {
      const bias = o.bias === undefined ? undefined : tensor(o.bias);
      return [[o.y, linear(tensor(o.x), tensor(o.w), bias, c)]];
    }
    case "linearInputGrad":
      return [[o.dx, linearInputGrad(tensor(o.dy), tensor(o.w))]];
    case "linearWeightGrad": {
      const dw = linearWeightGrad(tensor(o.x), tensor(o.dy));
      return o.dbias === undefined
        ? [[o.dw, dw]]
        : [
            [o.dw, dw],
            [o.dbias, columnSum(tensor(o.dy))],
          ];
    }
    case "conv":
      return [[o.y, conv(tensor(o.x), tensor(o.w), o)]];
    case "convInputGrad":
      return [[o.dx, convInputGrad(tensor(o.dy), tensor(o.w), shape(o.dx), o, c)]];
    case "convWeightGrad":
      return [[o.dw, convWeightGrad(tensor(o.x), tensor(o.dy), o)]];
    case "depthwise":
      return [[o.y, depthwise(tensor(o.x), tensor(o.w), o)]];
    case "depthwiseInputGrad":
      return [[o.dx, depthwiseInputGrad(tensor(o.dy), tensor(o.w), shape(o.dx), o, c)]];
    case "depthwiseWeightGrad":
      return [[o.dw, depthwiseWeightGrad(tensor(o.x), tensor(o.dy), o)]];
    case "batchNorm": {
      const r = batchNorm(tensor(o.x), tensor(o.gamma), tensor(o.beta), o.act);
      return [
        [o.y, r.y],
        [o.mean, r.mean],
        [o.variance, r.variance],
        [o.rstd, r.rstd],
      ];
    }
    case "batchNormGrad": {
      const [x, gamma, beta, mean, rstd] = [o.x, o.gamma, o.beta, o.mean, o.rstd].map(tensor);
      const r = batchNormGrad(x, gamma, beta, mean, rstd, tensor(o.dy), o.act);
      return [
        [o.dx, r.dx],
        [o.dgamma, r.dgamma],
        [o.dbeta, r.dbeta],
      ];
    }
    case "batchNormEval": {
      const [x, gamma, beta, mean, variance] = [o.x, o.gamma, o.beta, o.mean, o.variance].map(
        tensor,
      );
      return [[o.y, batchNormEval(x, gamma, beta, mean, variance, o.act)]];
    }
    case "layerNorm": {
      const r = layerNorm(tensor(o.x), tensor(o.gamma), tensor(o.beta));
      return [
        [o.y, r.y],
        [o.mean, r.mean],
        [o.rstd, r.rstd],
      ];
    }
    case "layerNormGrad": {
      const [x, gamma, mean, rstd, dy] = [o.x, o.gamma, o.mean, o.rstd, o.dy].map(tensor);
      const r = layerNormGrad(x, gamma, mean, rstd, dy);
      return [
        [o.dx, r.dx],
        [o.dgamma, r.dgamma],
        [o.dbeta, r.dbeta],
      ];
    }
    case "attention": {
      const r = attention(tensor(o.qkv), o.heads);
      return [
        [o.y, r.y],
        [o.logSumExp, r.logSumExp],
      ];
    }
    case "attentionGrad": {
      const [qkv, y, logSumExp, dy] = [o.qkv, o.y, o.logSumExp, o.dy].map(tensor);
      return [[o.dqkv, attentionGrad(qkv, y, logSumExp, dy, o.heads)]];
    }
    case "silu":
      return [[o.y, activate(tensor(o.x), "silu")]];
    case "siluGrad":
      return [[o.dx, activateGrad(tensor(o.x), tensor(o.dy), "silu")]];
    case "unfold":
      return [[o.y, unfold(tensor(o.x))]];
    case "fold":
      return [[o.y, fold(tensor(o.x), shape(o.y))]];
    case "resize":
      return [[o.y, resize(tensor(o.x), shape(o.y), c)]];
    case "resizeGrad":
      return [[o.dx, resizeGrad(tensor(o.dy), shape(o.dx), c)]];
    case "dropout": {
      const kept = tf.mul(tensor(o.x), c.mask(o.site, o.p, shape(o.y)));
      return [[o.y, o.residual === undefined ? kept : tf.add(tensor(o.residual), kept)]];
    }
    case "add":
      return [[o.y, tf.add(tensor(o.a), tensor(o.b))]];
    case "concat":
      return [[o.y, tf.concat([tensor(o.a), tensor(o.b)], -1)]];
    case "split": {
      const widths = [o.a, o.b].map((id) => shape(id).at(-1) as number);
      const [a, b] = tf.split(tensor(o.y), widths, -1);
      return [
        [o.a, a],
        [o.b, b],
      ];
    }
    case "meanPool":
      return [[o.y, tf.mean(tensor(o.x), [1, 2])]];
    case "meanPoolGrad": {
      const [b, h, w, channels] = shape(o.dx);
      const dy = tf.reshape(tf.mul(tensor(o.dy), 1 / (h * w)), [b, 1, 1, channels]);
      return [[o.dx, tf.tile(dy, [1, h, w, 1])]];
    }
    case "crossEntropy": {
      const r = crossEntropy(tensor(o.logits), tensor(o.labels), o.smoothing);
      return o.dlogits === undefined
        ? [[o.report, r.report]]
        : [
            [o.report, r.report],
            [o.dlogits, r.dlogits],
          ];
    }
  }
}
