/** The command line: parses, dispatches, and turns errors into messages and exit codes. */

import { FLAGS, type Flag, RECIPES, runConfigSchema } from "@swarmvit/shared/config";
import type { FlagGroup } from "@swarmvit/shared/config-fields";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import pc from "picocolors";
import { EXIT, exitCodeOf } from "./exit-codes.ts";

const GROUPS: readonly FlagGroup[] = [
  "Data",
  "Model",
  "Training",
  "Multi-scale",
  "Volunteers",
  "Server",
  "Output",
];

function trainCommand(): Command {
  const command = new Command("train")
    .description("start a run: open its link in browser tabs and watch them train one model")
    .helpOption("-h, --help", "show this help");
  for (const group of GROUPS) {
    command.optionsGroup(`${group}:`);
    for (const flag of FLAGS) if (flag.group === group) command.addOption(optionOf(flag));
    if (group === "Output") {
      command.option("--resume", "go on with the run that --name gives, or with the latest");
      command.option(
        "-c, --config <FILE>",
        "settings from a YAML file (keys are the flags' names)",
      );
    }
  }
  return command.action(async (_options, self: Command) => {
    const { train } = await import("./train.ts");
    const { resume, config, ...given } = self.opts();
    process.exitCode = await train({ resume: Boolean(resume), configFile: config, given });
  });
}

function workCommand(): Command {
  return new Command("work")
    .description("join a run without a browser")
    .argument("<URL>", "the join link that the coordinator printed")
    .addOption(
      new Option("--backend <NAME>", "what to compute on")
        .choices(["auto", "webgpu", "wasm", "wasm-relaxed", "tfjs"])
        .default("auto"),
    )
    .option("--throttle <PERCENT>", "share of the time to compute, 10 to 100", "100")
    .option("--threads <N>", "threads of the wasm backend", "1")
    .option("--name <NAME>", "shown on the dashboard")
    .option("--insecure", "accept a certificate that cannot be verified (self-signed)")
    .option("-q, --quiet", "say only what went wrong")
    .action(async (url: string, options) => {
      const { work } = await import("./work.ts");
      process.exitCode = await work(url, options);
    });
}

function evalCommand(): Command {
  return new Command("eval")
    .description("top-1, top-5 and loss of a model on a dataset's validation images")
    .argument("<RUN|FILE>", "name or directory of a run, or a .safetensors file with timm names")
    .requiredOption("--data <SPEC>", "image folder or fashion-mnist")
    .option("--img-size <N>", "size of the images (default: the model's own)")
    .option(
      "--which <ema|raw>",
      "which weights of a run: best EMA (best.safetensors) or the last raw",
      "ema",
    )
    .option("--runs-dir <DIR>", "where runs are kept", "runs")
    .option("--json", "print one JSON object")
    .action(async (model: string, options) => {
      const { evaluate } = await import("./evaluate.ts");
      process.exitCode = await evaluate(model, options);
    });
}

function predictCommand(): Command {
  return new Command("predict")
    .description("what a model sees in images: logits and the five likeliest classes")
    .argument("<RUN|FILE>", "name or directory of a run, or a .safetensors file with timm names")
    .argument("<IMAGE...>", "image files")
    .option("--img-size <N>", "size of the images (default: the model's own)")
    .option("--runs-dir <DIR>", "where runs are kept", "runs")
    .option("--json", "print one JSON object")
    .action(async (model: string, images: string[], options) => {
      const { predict } = await import("./predict.ts");
      process.exitCode = await predict(model, images, options);
    });
}

function simulateCommand(): Command {
  const number = (low: number, high: number, whole: boolean) => (text: string) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= low && value <= high && (!whole || Number.isInteger(value)))
      return value;
    throw new InvalidArgumentError(
      `a ${whole ? "whole " : ""}number of ${low} to ${high} is needed`,
    );
  };
  const speed = number(0.001, 1000, false);
  return new Command("simulate")
    .description("how a run would go with these volunteers: the real coordinator in virtual time")
    .addOption(
      new Option("--scenario <NAME>", "lines and devices; wild: every fault there is, checked")
        .choices(["lan", "home", "wild"])
        .default("lan"),
    )
    .option("--workers <N>", "volunteers", number(1, 10_000, true), 8)
    .option("--steps <N>", "steps to train", number(1, 100_000, true), 100)
    .option("--churn <P>", "share of the volunteers replaced each minute", number(0, 60, false), 0)
    .option("--speeds <LIST>", "their speeds in turn, such as 1,2,4,8", (text) =>
      text.split(",").map(speed),
    )
    .option("--units <N>", "units of a step (default: 8 a volunteer)", number(1, 65_535, true))
    .option("--classes <N>", "classes of the model, for its size", number(2, 100_000, true), 1000)
    .option("--seed <N>", "the same seed, the same run", number(0, 2 ** 32 - 1, true), 1)
    .option("--json", "print one JSON object")
    .action(async ({ speeds = [1], ...options }) => {
      const { simulateRun } = await import("./simulate.ts");
      process.exitCode = simulateRun({ ...options, speeds });
    });
}

const DEFAULTS = runConfigSchema.parse({});

function optionOf(flag: Flag): Option {
  return new Option(
    flag.placeholder ? `${flag.flag} <${flag.placeholder}>` : flag.flag,
    flag.description + defaultOf(flag),
  );
}

function defaultOf({ key, placeholder }: Flag): string {
  const value = DEFAULTS[key];
  if (value !== undefined) return placeholder ? ` (default: ${value})` : "";
  const [small, paper] = [RECIPES.small, RECIPES.paper].map(
    (recipe) => (recipe as Readonly<Record<string, unknown>>)[key],
  );
  if (small === undefined) return "";
  return `${small}` === `${paper}` ? ` (default: ${small})` : ` (small: ${small}, paper: ${paper})`;
}

const program = new Command("swarmvit")
  .description("Volunteer distributed training of MobileViT in the browser")
  .version("0.1.0")
  .showSuggestionAfterError()
  .exitOverride();
for (const command of [
  trainCommand(),
  workCommand(),
  evalCommand(),
  predictCommand(),
  simulateCommand(),
])
  program.addCommand(command.exitOverride().showSuggestionAfterError());

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and version end well; everything else that commander refuses is a usage error.
    process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage;
  } else {
    process.stderr.write(`${pc.red("error:")} ${messageOf(error)}\n`);
    process.exitCode = exitCodeOf(error);
  }
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return process.env.DEBUG ? (error.stack ?? error.message) : error.message;
}
