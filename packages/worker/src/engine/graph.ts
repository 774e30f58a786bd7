/**
 * The training step as data: MobileViT, its loss and its gradient are lists of these operations.
 *
 * All values are float32 and dense. Images are NHWC; sequences are [S, N, C] with S = 4·B (one
 * sequence for each pixel offset inside the 2x2 patch, SPEC section 1 step 4). Weights keep the
 * layouts that kernels like (see `ParameterRole`); the border to PyTorch's layouts is `layout.ts`.
 */

/** Index into `Graph.values`. */
export type ValueId = number;

export type Activation = "none" | "silu" | "relu";

/**
 * What a value is. `parameter` and running statistics live outside the arena (they belong to the
 * weights); pixels, labels and inputs are uploaded for each unit; everything else is placed by the plan.
 */
export type ValueRole =
  | { kind: "pixels" } // [B, H, W, 3] in [0, 1]
  | { kind: "labels" } // [B], class ids stored as float32 whole numbers
  | { kind: "input"; name: string } // any other value that is uploaded: graphs of single blocks
  | { kind: "parameter"; name: string } // timm name
  | { kind: "runningMean"; name: string } // timm name of the batch norm, evaluation only
  | { kind: "runningVariance"; name: string }
  | { kind: "activation" }
  | { kind: "gradient"; parameter: string } // sum over the unit's samples, engine layout
  | { kind: "statistic"; name: string; which: "mean" | "variance" } // of a batch norm; unbiased
  | { kind: "report" }; // [3]: loss sum over samples, top-1 count, top-5 count

export interface Value {
  readonly id: ValueId;
  readonly shape: readonly number[];
  readonly role: ValueRole;
}

/**
 * One operation. Field names: `x` input, `y` output, `w` weight, `dx`/`dy`/`dw` gradients of the
 * summed loss. A gradient operation writes its outputs; it never accumulates (sums are `add`).
 *
 * Engine weight layouts:
 * - linear (1x1 convolution, Linear): [N, K] = PyTorch's [out, in]; y = x·wᵀ + bias
 * - conv (dense 3x3):  [3, 3, Cin, Cout] (HWIO)
 * - depthwise 3x3:     [3, 3, C]
 * Padding is `dilation` on all four sides; out = floor((n - 1) / stride) + 1.
 */
export type Operation =
  // products
  | { op: "linear"; x: ValueId; w: ValueId; bias?: ValueId; y: ValueId } // [..., K] → [..., N]
  | { op: "linearInputGrad"; dy: ValueId; w: ValueId; dx: ValueId }
  | { op: "linearWeightGrad"; x: ValueId; dy: ValueId; dw: ValueId; dbias?: ValueId }
  | { op: "conv"; x: ValueId; w: ValueId; y: ValueId; stride: 1 | 2; dilation: number }
  | { op: "convInputGrad"; dy: ValueId; w: ValueId; dx: ValueId; stride: 1 | 2; dilation: number }
  | { op: "convWeightGrad"; x: ValueId; dy: ValueId; dw: ValueId; stride: 1 | 2; dilation: number }
  | { op: "depthwise"; x: ValueId; w: ValueId; y: ValueId; stride: 1 | 2; dilation: number }
  | {
      op: "depthwiseInputGrad";
      dy: ValueId;
      w: ValueId;
      dx: ValueId;
      stride: 1 | 2;
      dilation: number;
    }
  | {
      op: "depthwiseWeightGrad";
      x: ValueId;
      dy: ValueId;
      dw: ValueId;
      stride: 1 | 2;
      dilation: number;
    }
  // normalisation. mean, variance: [C], over all but the last axis. y = act(gamma·(x-mean)·rstd + beta),
  // rstd = 1/sqrt(biased variance + 1e-5). `variance` holds the UNBIASED variance (a statistic);
  // `rstd` is kept for the backward pass. `residual` is added last; only an executor's own fusion
  // makes one (here and in layerNormGrad), never the builder or `backward`.
  | {
      op: "batchNorm";
      x: ValueId;
      gamma: ValueId;
      beta: ValueId;
      y: ValueId;
      mean: ValueId;
      variance: ValueId;
      rstd: ValueId;
      residual?: ValueId;
      act: Activation;
    }
  | {
      op: "batchNormGrad";
      x: ValueId;
      gamma: ValueId;
      beta: ValueId;
      mean: ValueId;
      rstd: ValueId;
      /** The activation's result; only an executor's own fusion gives it. */
      y?: ValueId;
      dy: ValueId;
      dx: ValueId;
      dgamma: ValueId;
      dbeta: ValueId;
      act: Activation;
    }
  | {
      op: "batchNormEval";
      x: ValueId;
      gamma: ValueId;
      beta: ValueId;
      mean: ValueId;
      variance: ValueId;
      y: ValueId;
      act: Activation;
    } // running statistics
  | {
      op: "layerNorm";
      x: ValueId;
      gamma: ValueId;
      beta: ValueId;
      y: ValueId;
      mean: ValueId;
      rstd: ValueId;
    } // mean, rstd: one a row
  | {
      op: "layerNormGrad";
      x: ValueId;
      gamma: ValueId;
      mean: ValueId;
      rstd: ValueId;
      dy: ValueId;
      residual?: ValueId;
      dx: ValueId;
      dgamma: ValueId;
      dbeta: ValueId;
    }
  // transformer. qkv: [S, N, 3d], channels q|k|v, head-major inside each; y: [S, N, d].
  // logSumExp: [S, heads, N] of the scaled scores of each query row, so probabilities can be recomputed:
  // P = exp(q·k·hd^-0.5 - logSumExp).
  | { op: "attention"; qkv: ValueId; y: ValueId; logSumExp: ValueId; heads: number }
  | {
      op: "attentionGrad";
      qkv: ValueId;
      y: ValueId;
      logSumExp: ValueId;
      dy: ValueId;
      dqkv: ValueId;
      heads: number;
    }
  | { op: "silu"; x: ValueId; y: ValueId }
  | { op: "siluGrad"; x: ValueId; y?: ValueId; dy: ValueId; dx: ValueId } // y as in batchNormGrad
  // [B, H, W, C] ⇄ [4B, (H/2)(W/2), C]; each is the other's gradient
  | { op: "unfold"; x: ValueId; y: ValueId }
  | { op: "fold"; x: ValueId; y: ValueId }
  // bilinear, half-pixel centres, edge clamp, no antialias
  | { op: "resize"; x: ValueId; y: ValueId }
  | { op: "resizeGrad"; dy: ValueId; dx: ValueId }
  // y = residual + mask·x/(1-p) (residual absent: just the second term). The mask of element i
  // (flat index in y, which equals PyTorch's layout here) is kept iff u24(seed(unitSeed, site), i)
  // ≥ round(p·2^24); see @swarmvit/shared/random. The gradient of x is `dropout` on dy, same site.
  | { op: "dropout"; x: ValueId; residual?: ValueId; y: ValueId; p: number; site: string }
  | { op: "add"; a: ValueId; b: ValueId; y: ValueId } // may be placed in a's memory
  | { op: "concat"; a: ValueId; b: ValueId; y: ValueId } // along channels, a first
  | { op: "split"; y: ValueId; a: ValueId; b: ValueId } // concat's gradient: y is read, a and b written
  | { op: "meanPool"; x: ValueId; y: ValueId } // [B, H, W, C] → [B, C]
  | { op: "meanPoolGrad"; dy: ValueId; dx: ValueId }
  // report = [Σ smoothed cross-entropy, top-1 count, top-5 count]; dlogits of the SUM over samples
  | {
      op: "crossEntropy";
      logits: ValueId;
      labels: ValueId;
      dlogits?: ValueId;
      report: ValueId;
      smoothing: number;
    };

export type OperationKind = Operation["op"];

/** Operations in execution order over values; each activation is written by exactly one operation. */
export interface Graph {
  readonly values: readonly Value[];
  readonly operations: readonly Operation[];
  /** Values that must survive to the end: gradients, statistics, report, logits, taps. */
  readonly outputs: readonly ValueId[];
}
