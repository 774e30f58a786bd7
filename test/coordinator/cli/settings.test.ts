import { ConfigError, effectiveConfig, FLAGS } from "@swarmvit/shared/config";
import { describe, expect, test } from "vitest";
import {
  coerce,
  mergeSettings,
  resumeConflicts,
  settingsFromEnvironment,
  settingsFromYaml,
  settingsToYaml,
} from "../../../packages/coordinator/src/cli/settings.ts";

const flag = (key: string) => FLAGS.find((f) => f.key === key)!;

describe("where settings come from", () => {
  test("defaults < file < environment < flags", () => {
    const file = settingsFromYaml("epochs: 3\nbatch-size: 32\nlr: 0.01\n", "run.yaml");
    const environment = settingsFromEnvironment({
      SWARMVIT_LR: "0.02",
      SWARMVIT_EPOCHS: "4",
      HOME: "/",
    });
    const flags = { epochs: coerce(flag("epochs"), "5", "--epochs") };
    const config = effectiveConfig(mergeSettings(file, environment, flags));
    expect(config).toMatchObject({ epochs: 5, lr: 0.02, batchSize: 32, seed: 42 });
  });

  test.each([
    ["batch_sise: 3", /unknown key "batch_sise": did you mean "batch-size"\?/],
    ["- a\n- b", /"key: value" lines were expected/],
    ["a: [", /run\.yaml/],
    ["epochs: many", /run\.yaml: epochs: .*\(got "many"\)/],
  ])("a wrong file is refused by name: %j", (text, message) => {
    expect(() => settingsFromYaml(text, "run.yaml")).toThrow(message);
  });

  test("an unknown variable names the nearest", () => {
    expect(() => settingsFromEnvironment({ SWARMVIT_EPOCH: "1" })).toThrow(
      /did you mean SWARMVIT_EPOCHS/,
    );
  });

  test.each([
    ["epochs", "0"],
    ["epochs", "1.5"],
    ["epochs", "x"],
    ["model", "resnet"],
    ["port", "99999"],
    ["cropScale", "0.2"],
    ["scales", "48"],
  ])("--%s %s is refused with what was given", (key, text) => {
    expect(() => coerce(flag(key), text, flag(key).flag)).toThrow(ConfigError);
    expect(() => coerce(flag(key), text, flag(key).flag)).toThrow(`(got "${text}")`);
  });

  test("texts become what their setting takes, and digits may be a name", () => {
    expect(coerce(flag("cropScale"), "0.2:1", "")).toEqual([0.2, 1]);
    expect(coerce(flag("oneSize"), "true", "")).toBe(true);
    expect(coerce(flag("lr"), "2e-3", "")).toBe(0.002);
    expect(coerce(flag("name"), "123", "")).toBe("123");
    expect(coerce(flag("scales"), "48:80:5:8", "")).toBe("48:80:5:8");
  });

  test("what is saved reads back the same", () => {
    const config = effectiveConfig(mergeSettings({ epochs: 7, cropScale: [0.3, 1], name: "12" }));
    const again = mergeSettings(settingsFromYaml(settingsToYaml(config), "config.yaml"));
    expect(effectiveConfig(again)).toEqual(config);
  });
});

describe("--resume", () => {
  const old = mergeSettings({ epochs: 5, lr: 0.01, seed: 7 });

  test("may change epochs, max-steps, server and worker flags", () => {
    expect(
      resumeConflicts(old, { epochs: 9, maxSteps: 5, port: 1, localWorkers: 3, host: "0.0.0.0" }),
    ).toEqual([]);
  });

  test("names every other difference with old and new", () => {
    expect(resumeConflicts(old, { lr: 0.02, seed: 7, batchSize: 32 })).toEqual([
      "--batch-size: default → 32",
      "--lr: 0.01 → 0.02",
    ]);
  });
});
