import { effectiveConfig, FLAGS, parseScales, runConfigSchema } from "@swarmvit/shared/config";
import { describe, expect, test } from "vitest";

const effective = (given: Record<string, unknown>) => effectiveConfig(runConfigSchema.parse(given));

describe("the run configuration", () => {
  test("the recipe fills in what is not given", () => {
    expect(effective({})).toMatchObject({
      model: "mobilevit_xxs",
      imgSize: 64,
      scales: "48:80:5:8",
      lr: 0.003,
    });
    expect(effective({ recipe: "paper", lr: 0.001 })).toMatchObject({
      imgSize: 256,
      scales: "160:320:5:32",
      batchSize: 1024,
      epochs: 300,
      minLr: 0.0002,
      lr: 0.001,
    });
  });

  test.each([
    [{ batchSize: 64, unitSize: 24 }, /--unit-size must divide --batch-size \(got 24 and 64\)/],
    [{ cert: "a.pem" }, /--cert and --key go together/],
    [{ lr: 0.001, minLr: 0.01 }, /--min-lr must not exceed --lr/],
    [{ cropScale: [0.9, 0.2] }, /--crop-scale/],
    [{ scales: "80:48:3" }, /--scales/],
    [{ scales: "16:48:3:8" }, /32 or more/],
  ])("settings that contradict each other: %j", (given, message) => {
    expect(() => effective(given)).toThrow(message);
  });

  test.each([
    [{ epochs: 0 }],
    [{ model: "resnet" }],
    [{ port: 70_000 }],
    [{ name: "../escape" }],
    [{ scales: "48" }],
    [{ unknownKey: 1 }],
    [{ seed: 2 ** 32 }],
  ])("what the schema refuses: %j", (given) => {
    expect(runConfigSchema.safeParse(given).success).toBe(false);
  });

  test("every setting has one flag, one environment name and a line of help", () => {
    expect(new Set(FLAGS.map((flag) => flag.flag)).size).toBe(FLAGS.length);
    for (const flag of FLAGS) expect(flag.description.length, flag.flag).toBeGreaterThan(10);
    expect(FLAGS.find((flag) => flag.key === "batchSize")).toMatchObject({
      flag: "--batch-size",
      variable: "SWARMVIT_BATCH_SIZE",
    });
  });

  test("scales", () => {
    expect(parseScales("48:80:5:8")).toEqual({ min: 48, max: 80, count: 5, divisor: 8 });
    expect(parseScales("160:320:5")).toEqual({ min: 160, max: 320, count: 5, divisor: 32 });
  });
});
