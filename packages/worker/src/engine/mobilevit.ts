/** MobileViT as a graph, read off the table of variants (SPEC section 1). Images are NHWC. */

import {
  FFN_RATIO,
  HEADS,
  type TransformerSpec,
  VARIANTS,
  type VariantName,
} from "@swarmvit/shared/variants";
import type { AttentionPlace } from "./attention-map.ts";
import { type BackwardGraph, backward } from "./backward.ts";
import type { ModelConfig } from "./executor.ts";
import type { Activation, Graph, Operation, ValueId } from "./graph.ts";
import { createGraphBuilder, type GraphBuilder } from "./graph-builder.ts";

/** Total stride of the backbone: 32 to classify, 16 or 8 where a dense head follows (SPEC section 7). */
export type OutputStride = 8 | 16 | 32;

export interface Backbone {
  /** Output of stage 4, [B, H/32, W/32, C5] (rounded up; with a smaller stride, larger). */
  readonly features: ValueId;
  /** `stem`, `stage0` … `stage4`. */
  readonly taps: Readonly<Record<string, ValueId>>;
}

/** A whole classifier as a graph, with the ids of the values that a caller needs. */
export interface NetworkGraph {
  readonly graph: Graph;
  readonly pixels: ValueId; // [B, H, W, 3]
  readonly logits: ValueId; // [B, classes]
  /** `stem`, `stage0` … `stage4`, `final_conv`, `pooled`. */
  readonly taps: Readonly<Record<string, ValueId>>;
}

export interface TrainingGraph extends NetworkGraph {
  readonly labels: ValueId; // [B]
  readonly report: ValueId; // [3]
  /** From each parameter's value to its gradient's. */
  readonly gradients: BackwardGraph["gradients"];
}

/** Forward, loss and all gradients for one unit; outputs also logits and taps if `keepTaps`. */
export function trainingGraph(
  config: ModelConfig,
  height: number,
  width: number,
  batch: number,
  keepTaps = false,
): TrainingGraph {
  const g = createGraphBuilder(true);
  const pixels = g.pixels([batch, height, width, 3]);
  const labels = g.labels(batch);
  const { logits, taps } = classifier(g, pixels, config);
  const { report, dlogits } = g.crossEntropy(logits, labels, config.smoothing);
  const forward = g.finish(keepTaps ? [logits, ...Object.values(taps)] : []);
  const { graph, gradients } = backward(forward, new Map([[logits, dlogits as ValueId]]));
  return { graph, pixels, labels, logits, report, taps, gradients };
}

/** Forward on running statistics; the output is the logits, and the taps if `keepTaps`. */
export function evaluationGraph(
  config: ModelConfig,
  height: number,
  width: number,
  batch: number,
  keepTaps = false,
): NetworkGraph {
  const g = createGraphBuilder(false);
  const pixels = g.pixels([batch, height, width, 3]);
  const { logits, taps } = classifier(g, pixels, config);
  return {
    graph: g.finish([logits, ...(keepTaps ? Object.values(taps) : [])]),
    pixels,
    logits,
    taps,
  };
}

/** An evaluation graph that ends in one layer's queries, keys and values. */
export interface AttentionGraph {
  readonly graph: Graph;
  readonly pixels: ValueId; // [B, H, W, 3]
  readonly qkv: ValueId; // [4B, N, 3d]
}

/** Forward on running statistics up to the attention of one layer. Throws where the variant has no such layer. */
export function attentionGraph(
  config: ModelConfig,
  height: number,
  width: number,
  batch: number,
  { stage, layer }: AttentionPlace,
): AttentionGraph {
  const blocks = VARIANTS[config.variant].transformers;
  const depth = blocks[stage - 2]?.depth ?? 0;
  if (!Number.isInteger(layer) || layer < 0 || layer >= depth)
    throw new Error(
      `${config.variant} has no attention at stage ${stage}, layer ${layer}; its stages 2 to 4 have ${blocks.map((block) => block.depth).join(", ")} layers`,
    );
  const before = blocks.slice(0, stage - 2).reduce((sum, block) => sum + block.depth, 0);
  const { graph, pixels } = evaluationGraph(config, height, width, batch);
  const layers = graph.operations.filter(({ op }) => op === "attention");
  const wanted = layers[before + layer] as Operation & { op: "attention" };
  const operations = graph.operations.slice(0, graph.operations.indexOf(wanted));
  return { graph: { ...graph, operations, outputs: [wanted.qkv] }, pixels, qkv: wanted.qkv };
}

/** Backbone, final_conv, pooling, head: [B, H, W, 3] → [B, classes]. */
export function classifier(
  g: GraphBuilder,
  pixels: ValueId,
  config: ModelConfig,
): { logits: ValueId; taps: Readonly<Record<string, ValueId>> } {
  const { headChannels } = VARIANTS[config.variant];
  const { features, taps } = backbone(g, pixels, config.variant, config.dropout);
  const finalConv = pointwise(g, features, "final_conv", headChannels, "silu"); // [B, H/32, W/32, 4·C5]
  const pooled = g.meanPool(finalConv); // [B, 4·C5]
  const dropped = g.dropout(pooled, undefined, config.headDropout, "dropout/head");
  const logits = g.linear(dropped, "head.fc", config.classes, true); // [B, classes]
  return { logits, taps: { ...taps, final_conv: finalConv, pooled } };
}

/** Stem and stages 0 to 4. Strides are taken out from the end; dilation follows one stage later. */
export function backbone(
  g: GraphBuilder,
  pixels: ValueId,
  variant: VariantName,
  dropout: number,
  outputStride: OutputStride = 32,
): Backbone {
  const { channels, expansion, transformers } = VARIANTS[variant];
  const taps: Record<string, ValueId> = {};
  let x = convNorm(g, pixels, "stem", channels[0], 2); // [B, H/2, W/2, 16]
  taps.stem = x;
  x = invertedResidual(g, x, "stages.0.0", channels[1], expansion); // [B, H/2, W/2, C1]
  taps.stage0 = x;
  x = invertedResidual(g, x, "stages.1.0", channels[2], expansion, 2); // [B, H/4, W/4, C2]
  x = invertedResidual(g, x, "stages.1.1", channels[2], expansion);
  x = invertedResidual(g, x, "stages.1.2", channels[2], expansion);
  taps.stage1 = x;
  let dilation = 1;
  transformers.forEach((transformer, i) => {
    const stage = i + 2;
    const dense = outputStride < 8 << i; // this stage keeps its resolution
    const stride = dense ? 1 : 2;
    // [B, H/8, W/8, C3] then /16, /32
    x = invertedResidual(
      g,
      x,
      `stages.${stage}.0`,
      channels[stage + 1],
      expansion,
      stride,
      dilation,
    );
    if (dense) dilation *= 2;
    x = mobileViTBlock(g, x, `stages.${stage}.1`, transformer, dropout);
    taps[`stage${stage}`] = x;
  });
  return { features: x, taps };
}

/** MV2: expand 1x1, depthwise 3x3, reduce 1x1 without activation; residual iff shapes agree. */
export function invertedResidual(
  g: GraphBuilder,
  x: ValueId,
  name: string,
  outputs: number,
  expansion: number,
  stride: 1 | 2 = 1,
  dilation = 1,
): ValueId {
  const inputs = channels(g, x);
  const prefix = name === "" ? "" : `${name}.`;
  let y = pointwise(g, x, `${prefix}conv1_1x1`, inputs * expansion, "silu"); // [B, H, W, hidden]
  y = g.depthwise(y, `${prefix}conv2_kxk.conv`, { stride, dilation }); // [B, H/s, W/s, hidden]
  y = g.batchNorm(y, `${prefix}conv2_kxk.bn`, "silu");
  y = pointwise(g, y, `${prefix}conv3_1x1`, outputs, "none"); // [B, H/s, W/s, outputs]
  return stride === 1 && inputs === outputs ? g.add(x, y) : y;
}

/** The MobileViT block of SPEC section 1, steps 1 to 9; parameters are `${name}.…`. */
export function mobileViTBlock(
  g: GraphBuilder,
  x: ValueId,
  name: string,
  { dim, depth }: TransformerSpec,
  dropout: number,
): ValueId {
  const [, h, w, c] = g.shapeOf(x);
  const prefix = name === "" ? "" : `${name}.`;
  const [evenH, evenW] = [2 * Math.ceil(h / 2), 2 * Math.ceil(w / 2)];
  const resized = evenH !== h || evenW !== w;

  let y = convNorm(g, x, `${prefix}conv_kxk`, c); // [B, H, W, C]
  y = g.linear(y, `${prefix}conv_1x1`, dim, false); // [B, H, W, d]
  if (resized) y = g.resize(y, evenH, evenW);
  y = g.unfold(y); // [4B, N, d]
  for (let i = 0; i < depth; i++) y = transformerLayer(g, y, `${prefix}transformer.${i}`, dropout);
  y = g.layerNorm(y, `${prefix}norm`);
  y = g.fold(y, evenH, evenW); // [B, H', W', d]
  if (resized) y = g.resize(y, h, w);
  y = pointwise(g, y, `${prefix}conv_proj`, c, "silu"); // [B, H, W, C]
  y = g.concat(x, y); // [B, H, W, 2C], the block's input first
  return convNorm(g, y, `${prefix}conv_fusion`, c); // [B, H, W, C]
}

/** One pre-norm encoder layer on [S, N, d]. */
export function transformerLayer(
  g: GraphBuilder,
  x: ValueId,
  name: string,
  dropout: number,
): ValueId {
  const d = channels(g, x);
  const prefix = name === "" ? "" : `${name}.`;
  let y = g.layerNorm(x, `${prefix}norm1`);
  y = g.linear(y, `${prefix}attn.qkv`, 3 * d, true); // [S, N, 3d]
  y = g.attention(y, HEADS); // [S, N, d]
  y = g.linear(y, `${prefix}attn.proj`, d, true);
  const middle = g.dropout(y, x, dropout, `dropout/${prefix}attn.proj`);
  y = g.layerNorm(middle, `${prefix}norm2`);
  y = g.linear(y, `${prefix}mlp.fc1`, FFN_RATIO * d, true); // [S, N, 2d]
  y = g.silu(y);
  y = g.linear(y, `${prefix}mlp.fc2`, d, true);
  return g.dropout(y, middle, dropout, `dropout/${prefix}mlp.fc2`);
}

/** 3x3 convolution, batch norm, SiLU. */
function convNorm(
  g: GraphBuilder,
  x: ValueId,
  name: string,
  outputs: number,
  stride: 1 | 2 = 1,
): ValueId {
  return g.batchNorm(g.conv(x, `${name}.conv`, outputs, { stride }), `${name}.bn`, "silu");
}

/** 1x1 convolution (a product over channels), batch norm, activation. */
function pointwise(
  g: GraphBuilder,
  x: ValueId,
  name: string,
  outputs: number,
  act: Activation,
): ValueId {
  return g.batchNorm(g.linear(x, `${name}.conv`, outputs, false), `${name}.bn`, act);
}

function channels(g: GraphBuilder, x: ValueId): number {
  return g.shapeOf(x).at(-1) as number;
}
