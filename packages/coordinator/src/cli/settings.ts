/**
 * Where a run's settings come from: defaults < config file < environment `SWARMVIT_*` < flags, all
 * checked by the one schema of `@swarmvit/shared/config`.
 */

import {
  ConfigError,
  type ConfigKey,
  FLAGS,
  type Flag,
  type GivenConfig,
  kebab,
  runConfigSchema,
} from "@swarmvit/shared/config";
import { closest } from "fastest-levenshtein";
import { parse, stringify } from "yaml";

/** Settings as given, before defaults: key → value. */
export type Given = Partial<Record<ConfigKey, unknown>>;

/** Merges what was given, later sources winning, and checks it. Throws `ConfigError`. */
export function mergeSettings(...sources: Given[]): GivenConfig {
  const merged = Object.assign({}, ...sources) as Given;
  const result = runConfigSchema.safeParse(merged);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const key = String(issue.path[0] ?? "");
  throw new ConfigError(
    key,
    `--${kebab(key)}: ${issue.message} (got ${JSON.stringify(merged[key as ConfigKey])})`,
  );
}

/** Reads a YAML config: keys are the flags' names without dashes in front. Throws `ConfigError`. */
export function settingsFromYaml(text: string, file: string): Given {
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    throw new ConfigError("config", `${file}: ${(error as Error).message}`);
  }
  if (document === null || document === undefined) return {};
  if (typeof document !== "object" || Array.isArray(document))
    throw new ConfigError("config", `${file}: "key: value" lines were expected`);
  const given: Given = {};
  for (const [name, value] of Object.entries(document)) {
    const flag = FLAGS.find(({ flag }) => flag === `--${name.replaceAll("_", "-")}`);
    if (!flag) throw unknownKey(name, file);
    given[flag.key] = typeof value === "string" ? coerce(flag, value, `${file}: ${name}`) : value;
  }
  return given;
}

/** Picks the `SWARMVIT_*` variables. An unknown one is an error: it would be ignored in silence. */
export function settingsFromEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): Given {
  const given: Given = {};
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith("SWARMVIT_") || value === undefined) continue;
    const flag = FLAGS.find(({ variable }) => variable === name);
    if (!flag) {
      const nearest = closest(
        name,
        FLAGS.map(({ variable }) => variable),
      );
      throw new ConfigError(name, `unknown environment variable ${name}: did you mean ${nearest}?`);
    }
    given[flag.key] = coerce(flag, value, name);
  }
  return given;
}

/** Converts the text of a flag, a variable or a quoted YAML value to what its schema takes. */
export function coerce(flag: Flag, text: string, where: string): unknown {
  for (const candidate of candidates(text)) {
    const result = flag.schema.safeParse(candidate);
    if (result.success) return candidate;
  }
  const reason = flag.schema.safeParse(candidates(text)[0]).error?.issues[0]?.message;
  throw new ConfigError(flag.key, `${where}: ${reason ?? "wrong value"} (got "${text}")`);
}

/** The effective configuration as YAML, grouped, for `config.yaml`. */
export function settingsToYaml(config: Readonly<Partial<Record<ConfigKey, unknown>>>): string {
  const document: Record<string, unknown> = {};
  for (const { key } of FLAGS) if (config[key] !== undefined) document[kebab(key)] = config[key];
  return stringify(document);
}

/**
 * What a resumed run may not change, as lines "--flag: old → new". Only settings marked mutable
 * may differ; those not given keep the run's own value.
 */
export function resumeConflicts(old: GivenConfig, asked: Given): string[] {
  const lines: string[] = [];
  for (const { key, flag, mutable } of FLAGS) {
    if (mutable || key === "name" || !(key in asked)) continue;
    const [before, after] = [JSON.stringify(old[key]), JSON.stringify(asked[key])];
    if (before !== after) lines.push(`${flag}: ${before ?? "default"} → ${after}`);
  }
  return lines;
}

function unknownKey(name: string, file: string): ConfigError {
  const nearest = closest(
    name,
    FLAGS.map(({ key }) => kebab(key)),
  );
  return new ConfigError(name, `${file}: unknown key "${name}": did you mean "${nearest}"?`);
}

/** What a text may stand for, most specific first. */
function candidates(text: string): unknown[] {
  const list: unknown[] = [];
  if (/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text)) list.push(Number(text));
  if (/^(true|false|1|0)$/.test(text)) list.push(text === "true" || text === "1");
  if (/^[\d.]+:[\d.]+$/.test(text)) list.push(text.split(":").map(Number));
  list.push(text);
  return list;
}
