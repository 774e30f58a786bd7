/** MobileViT's three variants as a table (SPEC section 1). Everything else derives from it. */

export type VariantName = "xxs" | "xs" | "s";

/** One MobileViT block's transformer. */
export interface TransformerSpec {
  /** Width d of the tokens. */
  readonly dim: number;
  /** Number of encoder layers L. */
  readonly depth: number;
}

export interface Variant {
  readonly name: VariantName;
  /** Channels out of the stem and of stages 0 to 4. */
  readonly channels: readonly [number, number, number, number, number, number];
  /** Hidden width of an inverted residual is its input width times this. */
  readonly expansion: 2 | 4;
  /** Of stages 2, 3 and 4. */
  readonly transformers: readonly [TransformerSpec, TransformerSpec, TransformerSpec];
  /** Channels of final_conv: 4 times the last stage. */
  readonly headChannels: number;
  /** Dropout after proj and fc2 ([P01]): 0.05 for XXS, 0.1 for the others. */
  readonly dropout: number;
}

/** Attention heads, in every block of every variant. */
export const HEADS = 4;
/** FFN width is d times this, in every block of every variant. */
export const FFN_RATIO = 2;
/** Dropout before head.fc in the paper's recipe. */
export const HEAD_DROPOUT = 0.1;

export const VARIANTS: Readonly<Record<VariantName, Variant>> = {
  xxs: {
    name: "xxs",
    channels: [16, 16, 24, 48, 64, 80],
    expansion: 2,
    transformers: [
      { dim: 64, depth: 2 },
      { dim: 80, depth: 4 },
      { dim: 96, depth: 3 },
    ],
    headChannels: 320,
    dropout: 0.05,
  },
  xs: {
    name: "xs",
    channels: [16, 32, 48, 64, 80, 96],
    expansion: 4,
    transformers: [
      { dim: 96, depth: 2 },
      { dim: 120, depth: 4 },
      { dim: 144, depth: 3 },
    ],
    headChannels: 384,
    dropout: 0.1,
  },
  s: {
    name: "s",
    channels: [16, 32, 64, 96, 128, 160],
    expansion: 4,
    transformers: [
      { dim: 144, depth: 2 },
      { dim: 192, depth: 4 },
      { dim: 240, depth: 3 },
    ],
    headChannels: 640,
    dropout: 0.1,
  },
};
