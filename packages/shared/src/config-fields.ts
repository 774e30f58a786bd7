/**
 * Every setting of a run in one table: its schema, its place in the help and what the help says.
 * Keys are the flags' names in camelCase; `config.ts` makes everything else of it.
 */

import * as z from "zod";
import { CODECS } from "./codec.ts";

export type FlagGroup =
  | "Data"
  | "Model"
  | "Training"
  | "Multi-scale"
  | "Volunteers"
  | "Server"
  | "Output";

export interface FlagMeta {
  readonly group: FlagGroup;
  readonly description: string;
  /** May differ on --resume. */
  readonly mutable?: boolean;
  /** What stands after the flag in the help; absent for a switch. */
  readonly placeholder?: string;
}

const whole = (min: number, max = Number.MAX_SAFE_INTEGER) => z.number().int().min(min).max(max);
const positive = z.number().gt(0);
const fraction = z.number().min(0).max(1);
const pair = z.tuple([positive, positive]);

/** Settings whose default depends on the recipe are optional here; `RECIPES` fills them in. */
export const FIELDS = {
  data: field(z.string().min(1).default("fashion-mnist"), {
    group: "Data",
    placeholder: "DIR|fashion-mnist",
    description: "image folder (train/CLASS/*.jpg) or the built-in fashion-mnist",
  }),
  validationFraction: field(z.number().gt(0).lt(1).default(0.2), {
    group: "Data",
    placeholder: "X",
    description: "share held out when the folder has no val/",
  }),
  model: field(z.enum(["mobilevit_xxs", "mobilevit_xs", "mobilevit_s"]).default("mobilevit_xxs"), {
    group: "Model",
    placeholder: "NAME",
    description: "mobilevit_xxs, mobilevit_xs or mobilevit_s",
  }),
  init: field(z.string().optional(), {
    group: "Model",
    placeholder: "FILE",
    description: "start from these weights (safetensors, timm names)",
  }),
  recipe: field(z.enum(["small", "paper"]).default("small"), {
    group: "Training",
    placeholder: "NAME",
    description: "small (small images, short runs) or paper (ImageNet, SPEC section 3)",
  }),
  epochs: field(whole(1).optional(), {
    group: "Training",
    placeholder: "N",
    mutable: true,
    description: "passes over the training split; the schedule runs over them",
  }),
  maxSteps: field(whole(1).optional(), {
    group: "Training",
    placeholder: "N",
    mutable: true,
    description: "stop after this many steps (the schedule does not change)",
  }),
  batchSize: field(whole(2).optional(), {
    group: "Training",
    placeholder: "N",
    description: "samples of a step at the base size",
  }),
  unitSize: field(whole(2).optional(), {
    group: "Training",
    placeholder: "N",
    description: "samples of a unit at the base size; divides --batch-size",
  }),
  lr: field(positive.optional(), {
    group: "Training",
    placeholder: "X",
    description: "peak learning rate",
  }),
  minLr: field(z.number().min(0).optional(), {
    group: "Training",
    placeholder: "X",
    description: "learning rate at the end of the cosine",
  }),
  warmupSteps: field(whole(0).optional(), {
    group: "Training",
    placeholder: "N",
    description: "linear warm-up; small: 5 % of the run, at most 200",
  }),
  weightDecay: field(z.number().min(0).optional(), {
    group: "Training",
    placeholder: "X",
    description: "decoupled, on all parameters as in the paper",
  }),
  smoothing: field(fraction.optional(), {
    group: "Training",
    placeholder: "X",
    description: "label smoothing",
  }),
  clipGrad: field(positive.optional(), {
    group: "Training",
    placeholder: "X",
    description: "clip the averaged gradient to this norm (off by default)",
  }),
  dropout: field(z.number().min(0).lt(1).optional(), {
    group: "Training",
    placeholder: "X",
    description: "after proj and fc2; the variant's own by default",
  }),
  cropScale: field(pair.optional(), {
    group: "Training",
    placeholder: "LO:HI",
    description: "area of the random crop",
  }),
  evalEvery: field(whole(1).optional(), {
    group: "Training",
    placeholder: "N",
    mutable: true,
    description: "evaluate after this many steps (default: every epoch and at the end)",
  }),
  seed: field(whole(0, 0xffffffff).default(42), {
    group: "Training",
    placeholder: "N",
    description: "everything random comes from it",
  }),
  imgSize: field(whole(32, 1024).optional(), {
    group: "Multi-scale",
    placeholder: "N",
    description: "base size, and the size of evaluation",
  }),
  scales: field(
    z
      .string()
      .regex(/^\d+:\d+:\d+(:\d+)?$/, "min:max:count[:div] was expected, e.g. 48:80:5:8")
      .optional(),
    {
      group: "Multi-scale",
      placeholder: "MIN:MAX:N[:DIV]",
      description: "sizes that units are drawn from; div rounds them (default 32)",
    },
  ),
  scaleBatches: field(z.enum(["formula", "floor"]).default("formula"), {
    group: "Multi-scale",
    placeholder: "NAME",
    description:
      "batch by the paper's formula, or floor: never below the base batch, as in its code",
  }),
  oneSize: field(z.boolean().default(false), {
    group: "Multi-scale",
    description: "all units of a step draw the same size",
  }),
  localWorkers: field(whole(0, 64).default(0), {
    group: "Volunteers",
    placeholder: "N",
    mutable: true,
    description: "volunteers started on this machine as child processes",
  }),
  minWorkers: field(whole(1, 1000).default(1), {
    group: "Volunteers",
    placeholder: "N",
    mutable: true,
    description: "wait for this many before the first step",
  }),
  unitMemory: field(whole(16).optional(), {
    group: "Volunteers",
    placeholder: "MB",
    mutable: true,
    description: "most memory a unit may need on a device",
  }),
  leaseSeconds: field(z.number().min(1).max(3600).default(60), {
    group: "Volunteers",
    placeholder: "S",
    mutable: true,
    description: "first deadline of a lease, before a volunteer's speed is known",
  }),
  codec: field(z.enum(CODECS).default("f32"), {
    group: "Volunteers",
    placeholder: CODECS.join("|"),
    description: "how gradients and weights travel: f32 is exact, f16 half, int8 a quarter of it",
  }),
  host: field(z.string().optional(), {
    group: "Server",
    placeholder: "ADDR",
    mutable: true,
    description: "listen here, e.g. 0.0.0.0 (default 127.0.0.1; a join token is then required)",
  }),
  port: field(whole(0, 65535).default(8080), {
    group: "Server",
    placeholder: "N",
    mutable: true,
    description: "the next free one is taken when it is in use",
  }),
  https: field(z.boolean().default(false), {
    group: "Server",
    mutable: true,
    description: "self-signed certificate with all LAN addresses, made once and kept",
  }),
  cert: field(z.string().optional(), {
    group: "Server",
    placeholder: "FILE",
    mutable: true,
    description: "certificate chain (PEM); needs --key",
  }),
  key: field(z.string().optional(), {
    group: "Server",
    placeholder: "FILE",
    mutable: true,
    description: "private key (PEM); needs --cert",
  }),
  token: field(z.string().min(8).max(128).optional(), {
    group: "Server",
    placeholder: "T",
    mutable: true,
    description: "join token (random with --host)",
  }),
  trustProxy: field(whole(0, 8).default(0), {
    group: "Server",
    placeholder: "N",
    mutable: true,
    description: "proxies in front of this server whose X-Forwarded-For is believed",
  }),
  name: field(
    z
      .string()
      .regex(
        /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
        "letters, digits, dot, dash and underscore were expected",
      )
      .optional(),
    {
      group: "Output",
      placeholder: "RUN",
      description: "name of the run (default: the next free run-N)",
    },
  ),
  runsDir: field(z.string().default("runs"), {
    group: "Output",
    placeholder: "DIR",
    mutable: true,
    description: "where runs are kept",
  }),
  exitWhenDone: field(z.boolean().default(false), {
    group: "Output",
    mutable: true,
    description: "exit after the last step instead of serving on",
  }),
} as const;

function field<S extends z.ZodType>(schema: S, meta: FlagMeta): { schema: S; meta: FlagMeta } {
  return { schema, meta };
}
