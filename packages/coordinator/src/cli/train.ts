/** `swarmvit train`: settings → run directory → packed data → coordinator → terminal. */

import { randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import {
  ConfigError,
  type ConfigKey,
  effectiveConfig,
  FLAGS,
  type RunConfig,
} from "@swarmvit/shared/config";
import { sizeTableOf } from "@swarmvit/shared/run-plan";
import pc from "picocolors";
import { type Coordinator, openCoordinator } from "../coordinator.ts";
import type { Dataset } from "../datasets/dataset.ts";
import { openDataset } from "../datasets/open-dataset.ts";
import { describeSkipped, type PackedDataset, packDataset } from "../datasets/packed-dataset.ts";
import { joinLink, renderBanner } from "./banner.ts";
import { type Certificate, readCertificate, selfSignedCertificate } from "./certificate.ts";
import { EXIT } from "./exit-codes.ts";
import { initialWeights } from "./initial-weights.ts";
import { startLocalWorkers } from "./local-workers.ts";
import { isLoopback, lanAddresses } from "./network.ts";
import { findPages } from "./pages.ts";
import { existingRunDirectory, newRunDirectory, type RunDirectory } from "./run-directory.ts";
import {
  coerce,
  type Given,
  mergeSettings,
  resumeConflicts,
  settingsFromEnvironment,
  settingsFromYaml,
  settingsToYaml,
} from "./settings.ts";
import { openTerminal, type Terminal } from "./terminal.ts";
import { checkUnitMemory, unitBytesOf } from "./unit-memory.ts";

export interface TrainOptions {
  readonly resume: boolean;
  readonly configFile?: string;
  /** Flags as commander gives them: texts, or true for a switch. */
  readonly given: Readonly<Record<string, unknown>>;
}

/** Samples of a shard: a few hundred small images make a file worth a request. */
const SHARD_SAMPLES = 512;

/** Runs until the last step (with --exit-when-done) or until interrupted. Resolves to the exit code. */
export async function train(options: TrainOptions): Promise<number> {
  const terminal = openTerminal();
  const asked = await askedSettings(options);
  const { config: settings, existing } = options.resume
    ? await resumedSettings(asked)
    : { config: effectiveConfig(mergeSettings(asked)), existing: undefined };
  // Everything that can be refused is, before a new run's directory is made.
  const source = await openDataset(settings.data, {
    seed: settings.seed,
    validationFraction: settings.validationFraction,
  });
  terminal.log(source.describe());
  const unitBytes = unitBytesOf(settings, source.classes.length);
  checkUnitMemory(settings, unitBytes);
  const init = settings.init
    ? await initialWeights(settings.init, settings, source.classes)
    : undefined;
  const tls = await certificateOf(settings);
  const pages = await findPages();
  const run = existing ?? (await newRunDirectory(settings.runsDir, settings.name));
  const config: RunConfig = { ...settings, name: run.name };
  await writeFile(join(run.path, "config.yaml"), settingsToYaml({ ...config, token: undefined }));

  const dataset = await packData(source, config, run, terminal);
  const host = config.host ?? "127.0.0.1";
  const joinToken =
    config.token ?? (isLoopback(host) ? undefined : randomBytes(9).toString("base64url"));
  const hostToken = randomBytes(12).toString("base64url");
  const coordinator = await openCoordinator({
    config,
    name: run.name,
    runDirectory: run.path,
    dataset,
    shardsDirectory: shardsOf(run),
    pagesDirectory: pages.directory,
    build: pages.build,
    resume: options.resume,
    initialWeights: init,
    unitBytes,
    tls,
    host,
    port: config.port,
    joinToken,
    hostToken,
    limits: { trustProxy: config.trustProxy },
    log: (line) => terminal.log(line),
  });

  const scheme = tls ? "https" : "http";
  const { port } = coordinator;
  terminal.print(
    renderBanner({
      scheme,
      port,
      loopback: isLoopback(host),
      lanAddresses: lanAddresses(),
      joinToken,
      hostToken,
      title: `${config.model} on ${dataset.name}: ${run.name}`,
      columns: process.stdout.isTTY ? process.stdout.columns : undefined,
    }),
  );
  const workers = startLocalWorkers(
    joinLink({ scheme, port, joinToken }, isLoopback(host) ? "127.0.0.1" : "localhost"),
    config.localWorkers,
    (line) => terminal.log(line),
  );
  try {
    return await follow(coordinator, config, terminal);
  } finally {
    await coordinator.close();
    await workers.close();
    terminal.close();
  }
}

/** Shows the run until it ends or is interrupted: once saves and stops, twice stops now. */
async function follow(
  coordinator: Coordinator,
  config: RunConfig,
  terminal: Terminal,
): Promise<number> {
  coordinator.onState((state) => terminal.status(state));
  coordinator.onRecord((record) => terminal.record(record, coordinator.state().totalSteps));
  let interrupted = false;
  let release = () => {};
  const served = new Promise<void>((resolve) => {
    release = resolve;
  });
  const interrupt = () => {
    if (interrupted) process.exit(EXIT.interrupted);
    interrupted = true;
    terminal.log("stopping: saving a checkpoint (press Ctrl-C again to stop now)");
    coordinator.control("stop");
    release();
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  try {
    const { reason, detail } = await coordinator.finished;
    if (interrupted) {
      terminal.log(`saved: go on with --resume --name ${coordinator.state().name}`);
      return EXIT.interrupted;
    }
    if (reason === "failed") {
      terminal.log(pc.red(`the run failed: ${detail ?? "no reason given"}`));
      return EXIT.failed;
    }
    terminal.log(`done after ${coordinator.state().step} steps`);
    if (config.exitWhenDone) return EXIT.done;
    terminal.log("still serving the pages and the model; Ctrl-C ends");
    await served;
    return EXIT.done;
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
}

async function askedSettings({ configFile, given }: TrainOptions): Promise<Given> {
  const fromFile = configFile
    ? settingsFromYaml(
        await readFile(configFile, "utf8").catch((error: Error) => {
          throw new ConfigError("config", `${configFile}: cannot be read (${error.message})`);
        }),
        configFile,
      )
    : {};
  const flags: Given = {};
  for (const flag of FLAGS) {
    const value = given[flag.key];
    if (value === undefined) continue;
    flags[flag.key] = typeof value === "string" ? coerce(flag, value, flag.flag) : value;
  }
  return { ...fromFile, ...settingsFromEnvironment(process.env), ...flags };
}

/** The settings of the run that goes on, with what may change as asked. */
async function resumedSettings(
  asked: Given,
): Promise<{ config: RunConfig; existing: RunDirectory }> {
  const runsDir = String(asked.runsDir ?? "runs");
  const existing = await existingRunDirectory(runsDir, asked.name as string | undefined);
  const saved = settingsFromYaml(existing.config ?? "", join(existing.path, "config.yaml"));
  const conflicts = resumeConflicts(mergeSettings(saved), asked);
  if (conflicts.length > 0)
    throw new ConfigError(
      "resume",
      `a resumed run keeps its settings (old → new):\n  ${conflicts.join("\n  ")}\nLeave them out, or start a new run under another --name.`,
    );
  // Server settings are this start's own; the rest is the run's.
  const kept = { ...saved };
  for (const key of SERVER_KEYS) delete kept[key];
  return { config: effectiveConfig(mergeSettings(kept, asked)), existing };
}

/** Not taken over from the run that is resumed. */
const SERVER_KEYS: readonly ConfigKey[] = FLAGS.filter(
  ({ group, key }) => group === "Server" || key === "exitWhenDone" || key === "runsDir",
).map(({ key }) => key);

async function packData(
  dataset: Dataset,
  config: RunConfig,
  run: RunDirectory,
  terminal: Terminal,
): Promise<PackedDataset> {
  const directory = shardsOf(run);
  await mkdir(directory, { recursive: true });
  // A unit must fit into a shard, so that it touches at most two.
  const largestUnit = Math.max(...sizeTableOf(config).map(({ batch }) => batch));
  const packed = await packDataset(dataset, {
    directory,
    seed: config.seed,
    shardSamples: Math.max(SHARD_SAMPLES, largestUnit),
    onProgress: (done, total) => terminal.progress("packing images", done, total),
  });
  terminal.progressDone();
  for (const line of describeSkipped(packed)) terminal.log(pc.yellow(line));
  return packed;
}

function shardsOf(run: RunDirectory): string {
  return join(run.path, "shards");
}

async function certificateOf(config: RunConfig): Promise<Certificate | undefined> {
  if (config.cert && config.key) return readCertificate(config.cert, config.key);
  if (!config.https) return undefined;
  const directory = join(homedir(), ".swarmvit");
  return selfSignedCertificate(directory, lanAddresses(), new Date());
}
