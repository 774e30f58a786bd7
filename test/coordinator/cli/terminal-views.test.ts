import type { RunState } from "@swarmvit/shared/run";
import { describe, expect, test } from "vitest";
import { joinLink, renderBanner } from "../../../packages/coordinator/src/cli/banner.ts";
import {
  formatDuration,
  renderEvaluation,
  renderStatus,
  renderStep,
} from "../../../packages/coordinator/src/cli/progress.ts";

const state: RunState = {
  name: "run-1",
  id: "0123456789abcdef",
  phase: "training",
  model: "mobilevit_xxs",
  parameters: 951_034,
  dataset: { name: "fashion-mnist", classes: [], train: 10_000, validation: 2_000 },
  step: 50,
  totalSteps: 200,
  epoch: 0,
  epochs: 2,
  startedAt: 0,
  etaSeconds: 125,
  loss: 1.2345,
  imagesPerSecond: 87.4,
  bytesIn: 0,
  bytesOut: 0,
  volunteers: [],
  refusals: {},
  checkpoints: [],
  config: {},
};

const banner = {
  scheme: "https" as const,
  port: 8443,
  loopback: false,
  lanAddresses: ["192.168.1.20"],
  joinToken: "secret-token",
  hostToken: "host-token",
  title: "mobilevit_xxs",
};

describe("the status line", () => {
  test("says where the run is", () => {
    const line = renderStatus(state, 200);
    for (const part of [
      "epoch 1/2",
      "50/200",
      "loss 1.234",
      "0 volunteers",
      "87 img/s",
      "ETA 2:05",
    ])
      expect(line).toContain(part);
  });

  test("never exceeds the terminal", () => {
    for (const columns of [1, 20, 60])
      expect(renderStatus(state, columns).length).toBeLessThanOrEqual(columns);
  });

  test("explains a wait", () => {
    const line = renderStatus(
      { ...state, phase: "waiting", reason: "no volunteers: open the link" },
      200,
    );
    expect(line).toContain("waiting: no volunteers: open the link");
  });
});

test("step and evaluation lines", () => {
  const step = renderStep(
    {
      kind: "step",
      step: 5,
      epoch: 0,
      time: 0,
      loss: 2.1,
      top1: 0.2,
      lr: 0.001,
      grad_norm: 3.21,
      samples: 70,
      images_per_second: 55,
      seconds: 1.3,
      workers: 1,
      resolutions: { "48x48": 1, "64x64": 3 },
      bytes_in: 0,
      bytes_out: 0,
      weights: "",
    },
    100,
  );
  expect(step).toContain("1 volunteer ");
  expect(step).toContain("1·48px 3·64px");
  expect(
    renderEvaluation({
      kind: "eval",
      step: 5,
      time: 0,
      top1: 0.756,
      top5: 0.99,
      loss: 0.5,
      top1_raw: 0.7,
      samples: 2000,
    }),
  ).toContain("top-1 75.6 % (raw 70.0 %)");
});

test("durations", () => {
  expect([0, 59.6, 125, 3723].map(formatDuration)).toEqual(["0:00", "1:00", "2:05", "1:02:03"]);
});

describe("the banner", () => {
  test("puts the join token into the fragment, never into the path or query", () => {
    expect(joinLink(banner, "192.168.1.20")).toBe("https://192.168.1.20:8443/#secret-token");
    expect(renderBanner(banner)).toContain("https://192.168.1.20:8443/#secret-token");
  });

  test("says what phones need when the link is not secure", () => {
    expect(renderBanner({ ...banner, scheme: "http" })).toContain("add --https");
    expect(renderBanner({ ...banner, scheme: "http", loopback: true })).toContain(
      "--host 0.0.0.0 --https",
    );
  });

  test("draws a QR code only on a terminal that is wide enough", () => {
    const blocks = /[█▀▄]/;
    expect(renderBanner(banner)).not.toMatch(blocks);
    expect(renderBanner({ ...banner, columns: 30 })).not.toMatch(blocks);
    expect(renderBanner({ ...banner, columns: 80 })).toMatch(blocks);
  });
});
