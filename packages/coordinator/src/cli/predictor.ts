/** A model ready to predict, on this machine's executor: what `eval` and `predict` share. */

import { findDevice } from "@swarmvit/worker/client/executor-choice";
import type { Executor } from "@swarmvit/worker/engine/executor";
import { loadModuleFromDisk } from "@swarmvit/worker/engine/wasm/modules-node";
import type { Model } from "./model-source.ts";

/** Opens the model on the fastest executor there is. Close it when done. */
export async function openPredictor(model: Model): Promise<Executor> {
  const device = await findDevice("auto", { kind: "node", loadModule: loadModuleFromDisk });
  const executor = await device.createExecutor({
    variant: model.table.variant,
    classes: model.table.classes,
    dropout: 0,
    headDropout: 0,
    smoothing: 0,
  });
  await executor.setWeights(model.parameters, model.statistics);
  return executor;
}

/** The size that a flag asks for, or the model's own. */
export function imageSize(flag: string | undefined, model: Model): number {
  if (flag === undefined) return model.imgSize;
  const size = Number(flag);
  if (!Number.isInteger(size) || size < 32 || size > 2048)
    throw new RangeError(`--img-size: a whole number from 32 to 2048 was expected (got "${flag}")`);
  return size;
}
