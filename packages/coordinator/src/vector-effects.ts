/** The core's effects on long vectors and weights files, carried out and answered by events. */

import { join } from "node:path";
import type { ModelMetadata } from "@swarmvit/shared/model-weights";
import { sizesOfStep } from "@swarmvit/shared/planner";
import { unitRange } from "@swarmvit/shared/tree";
import type { CoreEvent, Effect } from "./core/messages.ts";
import type { OpenRun, OpenRunOptions } from "./open-run.ts";
import type { PublishedVectors } from "./server/published-vectors.ts";
import type { Uploads } from "./server/uploads.ts";
import { crashPoint } from "./storage/crash-point.ts";
import { isWithin } from "./storage/metrics-log.ts";

const TYPES = [
  "verify",
  "add",
  "alias",
  "commit",
  "forget-step",
  "checkpoint",
  "save-best",
  "rollback",
] as const;

export type VectorEffect = Extract<Effect, { type: (typeof TYPES)[number] }>;
type EffectOf<T extends VectorEffect["type"]> = Extract<VectorEffect, { type: T }>;

export interface VectorEffectsOptions {
  readonly run: OpenRun;
  readonly options: Pick<OpenRunOptions, "config" | "name" | "dataset" | "runDirectory" | "log">;
  readonly published: PublishedVectors;
  readonly uploads: Uploads;
  dispatch(event: CoreEvent): void;
  /** What is wrong with the storage in words, or undefined when it works again. */
  report(problem: string | undefined): void;
  /** The thread is dead or the core and the vectors disagree: the run cannot go on. */
  fail(error: unknown): void;
}

export interface VectorEffects {
  perform(effect: VectorEffect): void;
  /** Resolves when nothing is being worked on: a checkpoint that is being written is whole then. */
  settled(): Promise<void>;
}

export function isVectorEffect(effect: Effect): effect is VectorEffect {
  return (TYPES as readonly string[]).includes(effect.type);
}

/** Opens the executor. Calls go to the vectors at once, so they keep the order of the effects. */
export function openVectorEffects(context: VectorEffectsOptions): VectorEffects {
  const { run, options, published, uploads, dispatch, report, fail } = context;
  const { vectors, plan, metrics } = run;
  const pending = new Set<Promise<void>>();

  const answer = (promise: Promise<CoreEvent | undefined>) => {
    const done: Promise<void> = promise
      .then((event) => {
        if (event) dispatch(event);
      })
      .catch(fail)
      .finally(() => pending.delete(done));
    pending.add(done);
  };

  const verify = async ({ lease, expected }: EffectOf<"verify">): Promise<CoreEvent> => {
    const frame = uploads.take(lease);
    if (!frame)
      return { type: "refused", lease, code: "MALFORMED", detail: "its bytes are not here" };
    const { kind, step } = expected;
    const sizes = kind === "gradient" ? sizesOfStep(plan.planConfig, step) : [];
    const { first, end } = unitRange(expected, sizes.length);
    const result = await vectors.verify(frame, expected, sizes.slice(first, end));
    return result.ok
      ? { type: "verified", lease, report: result.report }
      : { type: "refused", lease, code: result.code, detail: result.detail };
  };

  const add = async ({ step, node, left, right }: EffectOf<"add">): Promise<CoreEvent> => {
    await vectors.add(step, node, left, right);
    return { type: "added", step, node };
  };

  const commit = async (effect: EffectOf<"commit">): Promise<CoreEvent> => {
    const { step, root, samples, lr, log, evaluated } = effect;
    const commitment = await vectors.commit(step, root, samples, lr, log, evaluated);
    if ("unlogged" in commitment) {
      const { unlogged: detail } = commitment;
      report(`step ${step + 1} could not be written to the log: ${detail}`);
      return { type: "commit-failed", step, detail };
    }
    report(undefined);
    published.add(commitment);
    for (const frame of commitment.spent) uploads.recycle(frame);
    crashPoint("step-served");
    const { weights, gradNorm, finite } = commitment;
    return { type: "committed", step, weights, gradNorm, finite };
  };

  const checkpoint = async ({ step, core }: EffectOf<"checkpoint">): Promise<CoreEvent> => {
    try {
      // Both are asked for at once: nothing may change the vectors between them.
      const path = join(options.runDirectory, "last.safetensors");
      const [{ file, bytes }] = await Promise.all([
        vectors.checkpoint(core),
        vectors.saveModel(path, metadataOf("raw", step)),
      ]);
      report(undefined);
      return { type: "checkpointed", step, file, bytes };
    } catch (error) {
      const detail = messageOf(error);
      report(`the checkpoint of step ${step} could not be written: ${detail}`);
      return { type: "checkpoint-failed", step, detail };
    }
  };

  const saveBest = async ({ step, top1 }: EffectOf<"save-best">): Promise<undefined> => {
    try {
      const path = join(options.runDirectory, "best.safetensors");
      await vectors.saveModel(path, metadataOf("ema", step, { top1: String(top1) }));
    } catch (error) {
      report(`best.safetensors could not be written: ${messageOf(error)}`);
    }
  };

  const rollback = async ({ before }: EffectOf<"rollback">): Promise<CoreEvent> => {
    try {
      const restored = await vectors.restore(before);
      for (const line of restored?.warnings ?? []) options.log(line);
      if (!restored) await run.initialize();
      const step = restored?.core.step ?? 0;
      await vectors.dropLater();
      const from = await vectors.publish();
      metrics.cut((record) => isWithin(record, step));
      published.add(from);
      return { type: "rolled-back", step, weights: from.weights };
    } catch (error) {
      return { type: "rollback-failed", detail: messageOf(error) };
    }
  };

  const metadataOf = (
    which: ModelMetadata["which"],
    step: number,
    more: Record<string, string> = {},
  ): ModelMetadata => ({
    which,
    classes: options.dataset.classes,
    step,
    extra: {
      run: options.name,
      img_size: String(options.config.imgSize),
      eval_resize: String(plan.session.run.augment.evalResize),
      ...more,
    },
  });

  const eventOf = (effect: VectorEffect): Promise<CoreEvent | undefined> => {
    switch (effect.type) {
      case "verify":
        return verify(effect);
      case "add":
        return add(effect);
      case "alias":
        return nothing(vectors.alias(effect.step, effect.node, effect.child));
      case "commit":
        return commit(effect);
      case "forget-step":
        return nothing(vectors.forget(effect.step));
      case "checkpoint":
        return checkpoint(effect);
      case "save-best":
        return saveBest(effect);
      case "rollback":
        return rollback(effect);
    }
  };

  return {
    perform: (effect) => answer(eventOf(effect)),
    async settled() {
      await Promise.all(pending);
    },
  };
}

async function nothing(promise: Promise<void>): Promise<undefined> {
  await promise;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
