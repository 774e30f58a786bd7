/**
 * The parameter and statistics tables of a model: timm names, PyTorch shapes, places in one flat
 * Float32Array each. The order is PyTorch's state_dict order; names are an ABI (DESIGN section 6).
 */

import { FFN_RATIO, VARIANTS, type VariantName } from "./variants.ts";

export type TensorKind =
  | "conv" // [out, in/groups, k, k]
  | "linear" // [out, in]
  | "bias"
  | "bn_gamma"
  | "bn_beta"
  | "ln_gamma"
  | "ln_beta"
  | "bn_mean"
  | "bn_var";

export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly kind: TensorKind;
  /** First element in the flat vector of parameters (or of statistics). */
  readonly offset: number;
  readonly size: number;
}

export interface ParameterTable {
  readonly variant: VariantName;
  readonly classes: number;
  readonly parameters: readonly TensorSpec[];
  /** Running mean and variance of each batch norm, in that order. */
  readonly statistics: readonly TensorSpec[];
  readonly parameterCount: number;
  readonly statisticsCount: number;
}

/** The tables of a variant with `classes` outputs (SPEC section 1; 1,272,024 parameters for XXS at 1000). */
export function parameterTable(variant: VariantName, classes: number): ParameterTable {
  if (!Number.isInteger(classes) || classes < 2)
    throw new Error(`classes must be a whole number of at least 2 (got ${classes})`);
  const { channels, expansion, transformers, headChannels } = VARIANTS[variant];
  const parameters: TensorSpec[] = [];
  const statistics: TensorSpec[] = [];
  const place = (list: TensorSpec[], name: string, kind: TensorKind, ...shape: number[]) => {
    const last = list.at(-1);
    const size = shape.reduce((a, b) => a * b, 1);
    list.push({ name, shape, kind, offset: last ? last.offset + last.size : 0, size });
  };
  const affine = (name: string, kind: "bn" | "ln", c: number) => {
    place(parameters, `${name}.weight`, `${kind}_gamma`, c);
    place(parameters, `${name}.bias`, `${kind}_beta`, c);
  };
  const convNorm = (name: string, cin: number, cout: number, k: number) => {
    place(parameters, `${name}.conv.weight`, "conv", cout, cin, k, k);
    affine(`${name}.bn`, "bn", cout);
    place(statistics, `${name}.bn.running_mean`, "bn_mean", cout);
    place(statistics, `${name}.bn.running_var`, "bn_var", cout);
  };
  const linear = (name: string, cin: number, cout: number) => {
    place(parameters, `${name}.weight`, "linear", cout, cin);
    place(parameters, `${name}.bias`, "bias", cout);
  };
  const invertedResidual = (name: string, cin: number, cout: number) => {
    const hidden = cin * expansion;
    convNorm(`${name}.conv1_1x1`, cin, hidden, 1);
    convNorm(`${name}.conv2_kxk`, 1, hidden, 3); // depthwise
    convNorm(`${name}.conv3_1x1`, hidden, cout, 1);
  };
  const mobileViT = (name: string, c: number, d: number, depth: number) => {
    convNorm(`${name}.conv_kxk`, c, c, 3);
    place(parameters, `${name}.conv_1x1.weight`, "conv", d, c, 1, 1);
    for (let i = 0; i < depth; i++) {
      const layer = `${name}.transformer.${i}`;
      affine(`${layer}.norm1`, "ln", d);
      linear(`${layer}.attn.qkv`, d, 3 * d);
      linear(`${layer}.attn.proj`, d, d);
      affine(`${layer}.norm2`, "ln", d);
      linear(`${layer}.mlp.fc1`, d, FFN_RATIO * d);
      linear(`${layer}.mlp.fc2`, FFN_RATIO * d, d);
    }
    affine(`${name}.norm`, "ln", d);
    convNorm(`${name}.conv_proj`, d, c, 1);
    convNorm(`${name}.conv_fusion`, 2 * c, c, 3);
  };

  convNorm("stem", 3, channels[0], 3);
  invertedResidual("stages.0.0", channels[0], channels[1]);
  invertedResidual("stages.1.0", channels[1], channels[2]);
  invertedResidual("stages.1.1", channels[2], channels[2]);
  invertedResidual("stages.1.2", channels[2], channels[2]);
  transformers.forEach(({ dim, depth }, i) => {
    const stage = i + 2;
    invertedResidual(`stages.${stage}.0`, channels[stage], channels[stage + 1]);
    mobileViT(`stages.${stage}.1`, channels[stage + 1], dim, depth);
  });
  convNorm("final_conv", channels[5], headChannels, 1);
  linear("head.fc", headChannels, classes);

  return {
    variant,
    classes,
    parameters,
    statistics,
    parameterCount: lengthOf(parameters),
    statisticsCount: lengthOf(statistics),
  };
}

function lengthOf(list: readonly TensorSpec[]): number {
  const last = list.at(-1);
  return last ? last.offset + last.size : 0;
}
