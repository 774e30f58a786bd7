/**
 * Builds a forward graph layer by layer: each call emits one or two operations, checks the shapes
 * it is given and returns the id of its result. Layers name their parameters as timm does.
 */

import type { Activation, Graph, Operation, Value, ValueId, ValueRole } from "./graph.ts";

export interface ConvOptions {
  readonly stride?: 1 | 2;
  readonly dilation?: number;
}

export interface GraphBuilder {
  /** Training graphs use batch statistics and dropout; evaluation graphs use running statistics. */
  readonly training: boolean;
  shapeOf(id: ValueId): readonly number[];
  /** A value that is uploaded for each unit. */
  input(name: string, shape: readonly number[]): ValueId;
  pixels(shape: readonly number[]): ValueId;
  labels(batch: number): ValueId;
  /** [..., K] → [..., N], weight `${name}.weight` [N, K]; `${name}.bias` [N] if `bias`. */
  linear(x: ValueId, name: string, outputs: number, bias: boolean): ValueId;
  /** Dense 3x3, [B, H, W, Cin] → [B, H', W', Cout], weight `${name}.weight` [3, 3, Cin, Cout]. */
  conv(x: ValueId, name: string, outputs: number, options?: ConvOptions): ValueId;
  /** Depthwise 3x3, [B, H, W, C] → [B, H', W', C], weight `${name}.weight` [3, 3, C]. */
  depthwise(x: ValueId, name: string, options?: ConvOptions): ValueId;
  batchNorm(x: ValueId, name: string, act: Activation): ValueId;
  layerNorm(x: ValueId, name: string): ValueId;
  /** qkv [S, N, 3d] → [S, N, d]. */
  attention(qkv: ValueId, heads: number): ValueId;
  silu(x: ValueId): ValueId;
  /** [B, H, W, C] → [4B, (H/2)(W/2), C], H and W even. */
  unfold(x: ValueId): ValueId;
  /** [4B, (H/2)(W/2), C] → [B, H, W, C]. */
  fold(x: ValueId, height: number, width: number): ValueId;
  resize(x: ValueId, height: number, width: number): ValueId;
  /** residual + dropout(x): a plain `add` where nothing is dropped, x itself where nothing is added. */
  dropout(x: ValueId, residual: ValueId | undefined, p: number, site: string): ValueId;
  add(a: ValueId, b: ValueId): ValueId;
  concat(a: ValueId, b: ValueId): ValueId;
  /** [B, H, W, C] → [B, C]. */
  meanPool(x: ValueId): ValueId;
  /** Smoothed cross-entropy of logits [B, classes]; `dlogits` only in training. */
  crossEntropy(
    logits: ValueId,
    labels: ValueId,
    smoothing: number,
  ): { report: ValueId; dlogits: ValueId | undefined };
  /** The graph so far: outputs are the batch statistics, reports and whatever `outputs` adds. */
  finish(outputs?: readonly ValueId[]): Graph;
}

/** Starts an empty graph. */
export function createGraphBuilder(training: boolean): GraphBuilder {
  const values: Value[] = [];
  const operations: Operation[] = [];
  const parameters = new Set<string>();

  const value = (shape: readonly number[], role: ValueRole = { kind: "activation" }): ValueId => {
    if (shape.some((n) => !Number.isInteger(n) || n < 1))
      throw new Error(`a value has shape [${shape}]; every extent must be a whole number above 0`);
    values.push({ id: values.length, shape, role });
    return values.length - 1;
  };
  const parameter = (name: string, shape: readonly number[]): ValueId => {
    if (parameters.has(name))
      throw new Error(`parameter ${name} is used twice; a layer's name must be its own`);
    parameters.add(name);
    return value(shape, { kind: "parameter", name });
  };
  const shapeOf = (id: ValueId): readonly number[] => values[id].shape;
  const imageOf = (id: ValueId): readonly [number, number, number, number] => {
    const shape = shapeOf(id);
    if (shape.length !== 4) throw new Error(`expected an image [B, H, W, C], got [${shape}]`);
    return shape as readonly [number, number, number, number];
  };
  const channelsOf = (id: ValueId): number => shapeOf(id).at(-1) as number;
  const sameShape = (a: ValueId, b: ValueId) => {
    if (`${shapeOf(a)}` !== `${shapeOf(b)}`)
      throw new Error(`expected two equal shapes, got [${shapeOf(a)}] and [${shapeOf(b)}]`);
  };

  const add = (a: ValueId, b: ValueId): ValueId => {
    sameShape(a, b);
    const y = value(shapeOf(a));
    operations.push({ op: "add", a, b, y });
    return y;
  };

  return {
    training,
    shapeOf,
    input: (name, shape) => value(shape, { kind: "input", name }),
    pixels: (shape) => value(shape, { kind: "pixels" }),
    labels: (batch) => value([batch], { kind: "labels" }),

    linear(x, name, outputs, bias) {
      const w = parameter(`${name}.weight`, [outputs, channelsOf(x)]);
      const offset = bias ? parameter(`${name}.bias`, [outputs]) : undefined;
      const y = value([...shapeOf(x).slice(0, -1), outputs]);
      operations.push({ op: "linear", x, w, bias: offset, y });
      return y;
    },

    conv(x, name, outputs, { stride = 1, dilation = 1 } = {}) {
      const [b, h, w, c] = imageOf(x);
      const weight = parameter(`${name}.weight`, [3, 3, c, outputs]);
      const y = value([b, strided(h, stride), strided(w, stride), outputs]);
      operations.push({ op: "conv", x, w: weight, y, stride, dilation });
      return y;
    },

    depthwise(x, name, { stride = 1, dilation = 1 } = {}) {
      const [b, h, w, c] = imageOf(x);
      const weight = parameter(`${name}.weight`, [3, 3, c]);
      const y = value([b, strided(h, stride), strided(w, stride), c]);
      operations.push({ op: "depthwise", x, w: weight, y, stride, dilation });
      return y;
    },

    batchNorm(x, name, act) {
      const c = channelsOf(x);
      const gamma = parameter(`${name}.weight`, [c]);
      const beta = parameter(`${name}.bias`, [c]);
      const y = value(shapeOf(x));
      if (!training) {
        const mean = value([c], { kind: "runningMean", name });
        const variance = value([c], { kind: "runningVariance", name });
        operations.push({ op: "batchNormEval", x, gamma, beta, mean, variance, y, act });
        return y;
      }
      if (elements(shapeOf(x)) === c)
        throw new Error(
          `${name} normalises over one position only ([${shapeOf(x)}]); train with 2 samples or more`,
        );
      const mean = value([c], { kind: "statistic", name, which: "mean" });
      const variance = value([c], { kind: "statistic", name, which: "variance" });
      const rstd = value([c]);
      operations.push({ op: "batchNorm", x, gamma, beta, y, mean, variance, rstd, act });
      return y;
    },

    layerNorm(x, name) {
      const c = channelsOf(x);
      const rows = shapeOf(x).slice(0, -1);
      const gamma = parameter(`${name}.weight`, [c]);
      const beta = parameter(`${name}.bias`, [c]);
      const y = value(shapeOf(x));
      operations.push({
        op: "layerNorm",
        x,
        gamma,
        beta,
        y,
        mean: value(rows),
        rstd: value(rows),
      });
      return y;
    },

    attention(qkv, heads) {
      const [s, n, width] = shapeOf(qkv);
      if (width % (3 * heads) !== 0)
        throw new Error(`attention needs 3·d channels with d divisible by ${heads}, got ${width}`);
      const y = value([s, n, width / 3]);
      operations.push({ op: "attention", qkv, y, logSumExp: value([s, heads, n]), heads });
      return y;
    },

    silu(x) {
      const y = value(shapeOf(x));
      operations.push({ op: "silu", x, y });
      return y;
    },

    unfold(x) {
      const [b, h, w, c] = imageOf(x);
      const y = value([4 * b, (h / 2) * (w / 2), c]);
      operations.push({ op: "unfold", x, y });
      return y;
    },

    fold(x, height, width) {
      const [s, n, c] = shapeOf(x);
      if (n !== (height / 2) * (width / 2))
        throw new Error(`${n} positions do not fold into ${height}x${width}`);
      const y = value([s / 4, height, width, c]);
      operations.push({ op: "fold", x, y });
      return y;
    },

    resize(x, height, width) {
      const [b, , , c] = imageOf(x);
      const y = value([b, height, width, c]);
      operations.push({ op: "resize", x, y });
      return y;
    },

    dropout(x, residual, p, site) {
      if (!(p >= 0 && p < 1)) throw new Error(`dropout at ${site} is ${p}; expected 0 ≤ p < 1`);
      if (!training || p === 0) return residual === undefined ? x : add(residual, x);
      if (residual !== undefined) sameShape(x, residual);
      const y = value(shapeOf(x));
      operations.push({ op: "dropout", x, residual, y, p, site });
      return y;
    },

    add,

    concat(a, b) {
      const y = value([...shapeOf(a).slice(0, -1), channelsOf(a) + channelsOf(b)]);
      operations.push({ op: "concat", a, b, y });
      return y;
    },

    meanPool(x) {
      const [b, , , c] = imageOf(x);
      const y = value([b, c]);
      operations.push({ op: "meanPool", x, y });
      return y;
    },

    crossEntropy(logits, labels, smoothing) {
      const report = value([3], { kind: "report" });
      const dlogits = training ? value(shapeOf(logits)) : undefined;
      operations.push({ op: "crossEntropy", logits, labels, dlogits, report, smoothing });
      return { report, dlogits };
    },

    finish(outputs = []) {
      const kept = values
        .filter(({ role }) => role.kind === "statistic" || role.kind === "report")
        .map(({ id }) => id);
      return { values, operations, outputs: [...new Set([...kept, ...outputs])] };
    },
  };
}

/** Elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** Extent of a 3x3 convolution's output: padding equals dilation, so dilation does not matter. */
function strided(extent: number, stride: number): number {
  return Math.floor((extent - 1) / stride) + 1;
}
