/** Finds and reads the model that `eval`, `predict` and `--init` name: a run or a weights file. */

import { readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { ConfigError } from "@swarmvit/shared/config";
import { identifyModel, type ModelWeights, readModel } from "@swarmvit/shared/model-weights";
import { type ParameterTable, parameterTable } from "@swarmvit/shared/parameters";

export interface Model extends ModelWeights {
  readonly file: string;
  readonly table: ParameterTable;
  /** Class names: the file's own, else "0", "1", … */
  readonly classes: readonly string[];
  /** Size that the run was evaluated at. */
  readonly imgSize: number;
  readonly evalResize: number;
}

/** Published checkpoints say nothing of their size: the paper's. */
const DEFAULT_SIZE = 256;

/** A run's best EMA weights; else the last ones. */
const RUN_FILES = { ema: ["best.safetensors", "last.safetensors"], raw: ["last.safetensors"] };

/** Loads a model by run name, run directory or file. Errors say what was looked for. */
export async function loadModel(
  source: string,
  runsDir: string,
  which: "ema" | "raw" = "ema",
): Promise<Model> {
  const file = await findFile(source, runsDir, which);
  const bytes = await readFile(file);
  const found = identifyModel(bytes);
  if (!found) throw new ConfigError("model", `${file}: not a MobileViT classifier with timm names`);
  const table = parameterTable(found.variant, found.classes);
  const weights = readModel(bytes, table);
  const { metadata } = weights;
  const named: unknown = metadata.classes ? JSON.parse(metadata.classes) : undefined;
  const classes =
    Array.isArray(named) && named.length === found.classes
      ? named.map(String)
      : Array.from({ length: found.classes }, (_, i) => String(i));
  return {
    ...weights,
    file,
    table,
    classes,
    imgSize: Number(metadata.img_size ?? DEFAULT_SIZE),
    evalResize: Number(metadata.eval_resize ?? 288 / 256),
  };
}

async function findFile(source: string, runsDir: string, which: "ema" | "raw"): Promise<string> {
  const directories = [source, join(runsDir, source)];
  for (const path of directories) {
    const info = await stat(path).catch(() => undefined);
    if (info?.isFile()) return path;
    if (!info?.isDirectory()) continue;
    for (const name of RUN_FILES[which]) {
      const file = join(path, name);
      if (await stat(file).catch(() => undefined)) return file;
    }
    throw new ConfigError(
      "model",
      `the run ${basename(path)} has no weights yet (${RUN_FILES[which].join(" or ")} in ${path}): let it reach its first checkpoint`,
    );
  }
  throw new ConfigError(
    "model",
    `${source}: no such run in ${runsDir} and no such file: name a run, its directory or a .safetensors file`,
  );
}
