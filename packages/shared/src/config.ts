/**
 * The run's configuration, from one table of settings: the schema, the flags, the YAML keys and the
 * environment names (DESIGN section 6). YAML and messages use the flags' own spelling.
 */

import * as z from "zod";
import { FIELDS, type FlagMeta } from "./config-fields.ts";

export const runConfigSchema = z.strictObject(
  Object.fromEntries(Object.entries(FIELDS).map(([key, value]) => [key, value.schema])) as {
    [K in keyof typeof FIELDS]: (typeof FIELDS)[K]["schema"];
  },
);

/** As given by the person: recipe-dependent settings may be absent. */
export type GivenConfig = z.infer<typeof runConfigSchema>;
export type ConfigKey = keyof GivenConfig;

/** Settings that the recipe decides unless given. */
type RecipeSettings = Required<
  Pick<
    GivenConfig,
    | "epochs"
    | "batchSize"
    | "unitSize"
    | "lr"
    | "minLr"
    | "weightDecay"
    | "smoothing"
    | "imgSize"
    | "scales"
    | "cropScale"
  >
>;

/** Effective configuration: every recipe-dependent setting filled in. */
export type RunConfig = Omit<GivenConfig, keyof RecipeSettings> & RecipeSettings;

export const RECIPES: Readonly<Record<GivenConfig["recipe"], RecipeSettings>> = {
  // For images of about 28 to 64 pixels and runs of minutes: a gentle crop, since a crop of 8 % of
  // 28 pixels shows nothing and one of 50 % costs three points of top-1 in six epochs (two seeds);
  // a rate that a batch of 128 bears. Eight units keep a few volunteers busy, and make a step long
  // beside the exchange at its end.
  small: {
    epochs: 10,
    batchSize: 128,
    unitSize: 16,
    lr: 0.003,
    minLr: 0.00002,
    weightDecay: 0.01,
    smoothing: 0.1,
    imgSize: 64,
    scales: "48:80:5:8",
    cropScale: [0.8, 1],
  },
  // [P01] mobilevit_*.yaml: 300 epochs, effective batch 1024, 2e-4 → 2e-3 → 2e-4.
  paper: {
    epochs: 300,
    batchSize: 1024,
    unitSize: 32,
    lr: 0.002,
    minLr: 0.0002,
    weightDecay: 0.01,
    smoothing: 0.1,
    imgSize: 256,
    scales: "160:320:5:32",
    cropScale: [0.08, 1],
  },
};

/** Fills in what the recipe decides and checks what a schema cannot: settings against each other. */
export function effectiveConfig(given: GivenConfig): RunConfig {
  const recipe = RECIPES[given.recipe];
  const filled = Object.fromEntries(
    Object.entries(recipe).map(([key, value]) => [key, given[key as ConfigKey] ?? value]),
  ) as RecipeSettings;
  const config: RunConfig = { ...given, ...filled };
  if (config.batchSize % config.unitSize !== 0)
    throw new ConfigError(
      "unitSize",
      `--unit-size must divide --batch-size (got ${config.unitSize} and ${config.batchSize})`,
    );
  if (Boolean(config.cert) !== Boolean(config.key))
    throw new ConfigError(
      "cert",
      "--cert and --key go together: give both, or neither and --https",
    );
  if (config.minLr > config.lr)
    throw new ConfigError(
      "minLr",
      `--min-lr must not exceed --lr (got ${config.minLr} and ${config.lr})`,
    );
  const [low, high] = config.cropScale;
  if (low > high || high > 1)
    throw new ConfigError("cropScale", `--crop-scale must be 0 < LO ≤ HI ≤ 1 (got ${low}:${high})`);
  const scales = parseScales(config.scales);
  if (scales.min > scales.max || scales.count < 1)
    throw new ConfigError(
      "scales",
      `--scales must be MIN ≤ MAX with at least one size (got ${config.scales})`,
    );
  if (scales.min < 32)
    throw new ConfigError(
      "scales",
      `--scales must start at 32 or more: MobileViT divides the image by 32 (got ${scales.min})`,
    );
  return config;
}

/** A wrong setting: exit code 2. */
export class ConfigError extends Error {
  readonly key: string;
  constructor(key: string, message: string) {
    super(message);
    this.name = "ConfigError";
    this.key = key;
  }
}

export interface Scales {
  readonly min: number;
  readonly max: number;
  readonly count: number;
  readonly divisor: number;
}

/** "48:80:5:8" → sizes from 48 to 80, five of them, rounded to multiples of 8 (32 by default). */
export function parseScales(text: string): Scales {
  const [min, max, count, divisor = 32] = text.split(":").map(Number);
  return { min, max, count, divisor };
}

/** Everything a command line needs to know about one setting. */
export interface Flag extends FlagMeta {
  readonly key: ConfigKey;
  /** "--batch-size". */
  readonly flag: string;
  /** "SWARMVIT_BATCH_SIZE". */
  readonly variable: string;
  readonly schema: z.ZodType;
}

export const FLAGS: readonly Flag[] = Object.entries(FIELDS).map(([key, { schema, meta }]) => ({
  ...(meta as FlagMeta),
  key: key as ConfigKey,
  flag: `--${kebab(key)}`,
  variable: `SWARMVIT_${kebab(key).replaceAll("-", "_").toUpperCase()}`,
  schema,
}));

/** batchSize → batch-size: the spelling of flags and YAML keys. */
export function kebab(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
