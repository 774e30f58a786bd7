/** `--init`: weights to start from, checked against the run's model before anything begins. */

import { readFile } from "node:fs/promises";
import { ConfigError, type RunConfig } from "@swarmvit/shared/config";
import { type ModelWeights, readModel } from "@swarmvit/shared/model-weights";
import { parameterTable } from "@swarmvit/shared/parameters";
import { variantOf } from "@swarmvit/shared/run-plan";

/** Reads the file for a run over `classes`. Throws `ConfigError` when it holds another model. */
export async function initialWeights(
  file: string,
  config: RunConfig,
  classes: readonly string[],
): Promise<ModelWeights> {
  const table = parameterTable(variantOf(config), classes.length);
  try {
    return readModel(await readFile(file), table);
  } catch (error) {
    throw new ConfigError("init", `--init ${file}: ${(error as Error).message}`);
  }
}
