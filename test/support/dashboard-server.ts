/** A run that was never trained, served to the dashboard as a coordinator would: HTTP and sockets. */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type {
  Control,
  DASHBOARD_NAMESPACE,
  DashboardToServer,
  ServerToDashboard,
} from "@swarmvit/shared/protocol";
import { uniform } from "@swarmvit/shared/random";
import type { MetricRecord, RunState, StepRecord, VolunteerRow } from "@swarmvit/shared/run";
import express from "express";
import { type Namespace, Server } from "socket.io";
import { setSecurityHeaders } from "../../packages/coordinator/src/server/security-headers.ts";

export interface DashboardServer {
  readonly url: string;
  /** What pages have asked the host's controls for. */
  readonly controls: readonly Control[];
  state(): RunState;
  /** Changes the state and sends it to every page. */
  change(part: Partial<RunState>): void;
  /** Commits one more step and sends its record; with `silent` pages miss it. */
  commit(options?: { silent?: boolean }): StepRecord;
  /** Adds a record and sends it. */
  add(record: MetricRecord): void;
  /** Cuts every socket and answers nothing until `restore`. */
  interrupt(): void;
  restore(): void;
  close(): Promise<void>;
}

export const HOST_TOKEN = "fixture-host-token";
const NAMESPACE: typeof DASHBOARD_NAMESPACE = "/dashboard";
const START = Date.UTC(2026, 2, 14, 9, 0, 0);
const STEPS_PER_EPOCH = 156;
const TOTAL_STEPS = 1560;
const SIZES = [48, 56, 64, 72, 80];

/** Serves the built pages in `folder` at /dashboard with `steps` synthetic steps behind them. */
export async function openDashboardServer(
  folder: string,
  options: { readonly steps: number; readonly volunteers?: number },
): Promise<DashboardServer> {
  const records = syntheticRecords(options.steps);
  let state = syntheticState(records, options.steps, options.volunteers ?? 6);
  let silent = false;
  const controls: Control[] = [];

  const app = express();
  app.use(setSecurityHeaders);
  app.use((_request, response, next) => {
    if (silent) response.status(503).end();
    else next();
  });
  app.get("/api/run", (_request, response) => {
    response.json(state);
  });
  app.get("/api/history", (request, response) => {
    const since = Number(request.query.since ?? 0);
    response.json({ cursor: records.length, records: records.slice(since) });
  });
  app.get("/dashboard", (_request, response) => {
    response.sendFile("dashboard.html", { root: folder });
  });
  app.use(express.static(folder));

  const http = createServer(app);
  const io = new Server(http, { allowRequest: (_request, done) => done(null, !silent) });
  const pages: Namespace<DashboardToServer, ServerToDashboard> = io.of(NAMESPACE);
  pages.on("connection", (socket) => {
    socket.on("control", (control, ack) => {
      controls.push(control);
      ack(
        control.token === HOST_TOKEN
          ? { ok: true }
          : { ok: false, message: "This is not the host's link: open the one in the terminal." },
      );
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));

  const change = (part: Partial<RunState>) => {
    state = { ...state, ...part };
    pages.emit("state", state);
  };
  const add = (record: MetricRecord) => {
    records.push(record);
    pages.emit("history", { cursor: records.length, records: [record] });
  };
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/dashboard`,
    controls,
    state: () => state,
    change,
    add,
    commit({ silent: unheard = false } = {}) {
      const record = syntheticStep(state.step + 1);
      if (unheard) records.push(record);
      else add(record);
      change({
        step: record.step,
        loss: record.loss,
        lr: record.lr,
        open: { step: record.step + 1, kind: "gradient", units: 4, leased: 3, done: 0 },
      });
      return record;
    },
    interrupt() {
      silent = true;
      for (const socket of pages.sockets.values()) socket.conn.close(); // as a killed process does
    },
    restore() {
      silent = false;
    },
    async close() {
      await io.close();
    },
  };
}

/** Numbers that look like training: a falling loss with noise, warm-up and cosine. */
function syntheticStep(step: number): StepRecord {
  const done = step / TOTAL_STEPS;
  const noise = uniform(7, step) - 0.5;
  const sizes = [0, 1, 2, 3].map((unit) => SIZES[Math.floor(uniform(11, 4 * step + unit) * 5)]);
  const resolutions: Record<string, number> = {};
  for (const size of sizes)
    resolutions[`${size}x${size}`] = (resolutions[`${size}x${size}`] ?? 0) + 1;
  const workers = Math.max(1, Math.min(6, Math.round(1 + 6 * Math.sqrt(done) + noise)));
  const samples = sizes.reduce((sum, size) => sum + Math.floor((16 * 64 * 64) / (size * size)), 0);
  const seconds = 1.9 / Math.sqrt(workers) + 0.3 * uniform(13, step);
  return {
    kind: "step",
    step,
    epoch: Math.floor((step - 1) / STEPS_PER_EPOCH),
    time: START + Math.round(step * 1400),
    loss: 0.62 + 1.75 * Math.exp(-step / 210) + 0.22 * noise,
    top1: Math.max(0, Math.min(1, 0.93 - 0.83 * Math.exp(-step / 230) + 0.14 * noise)),
    lr: step < 78 ? (0.002 * step) / 78 : 0.00002 + 0.00099 * (1 + Math.cos(Math.PI * done)),
    grad_norm: (0.5 + 3.5 * Math.exp(-step / 150)) * Math.exp(1.1 * noise),
    samples,
    images_per_second: samples / seconds,
    seconds,
    workers,
    resolutions,
    bytes_in: 4 * 3_820_000,
    bytes_out: workers * 3_820_000,
    weights: "0".repeat(64),
  };
}

function syntheticRecords(steps: number): MetricRecord[] {
  const records: MetricRecord[] = [
    { kind: "event", time: START, step: 0, what: "started", detail: "mobilevit_xxs, seed 42" },
  ];
  for (let step = 1; step <= steps; step++) {
    const row = syntheticStep(step);
    NAMES.forEach((name, i) => {
      if (step === 1 + i * 60)
        records.push({
          ...{ kind: "worker", time: row.time, step, volunteer: `v${i}`, name, what: "joined" },
        });
    });
    records.push(row);
    if (step % STEPS_PER_EPOCH === 0) {
      const top1 = 0.91 - 0.7 * Math.exp(-step / 260);
      records.push({
        ...{ kind: "eval", step, time: row.time + 900, top1, top1_raw: top1 - 0.018 },
        ...{ top5: 0.995, loss: 0.58 + 1.6 * Math.exp(-step / 260), samples: 2000 },
      });
      records.push({
        ...{ kind: "event", time: row.time + 1000, step, what: "checkpoint" },
        detail: `step-${step}.safetensors`,
      });
    }
    if (step % 331 === 0)
      records.push({
        ...{ kind: "worker", time: row.time, step, volunteer: "v3", name: NAMES[3] },
        ...{ what: "expired", code: "EXPIRED", detail: "no answer within 12 s, given to others" },
      });
  }
  return records;
}

const NAMES = [
  "Amber Fox",
  "Quiet Otter",
  "Blue Heron",
  "Swift Marten",
  "Old Laptop",
  "Green Newt",
];
const DEVICES = [
  "webgpu · NVIDIA RTX 3060",
  "webgpu · Apple M2",
  "webgpu · Adreno 740",
  "wasm · Firefox 149, 8 threads",
  "wasm · node 20.20",
  "webgpu · Intel Iris Xe",
];

function syntheticState(records: readonly MetricRecord[], step: number, count: number): RunState {
  const last = records.findLast((record) => record.kind === "step");
  const evaluation = records.findLast((record) => record.kind === "eval");
  const volunteers = NAMES.slice(0, count).map(
    (name, i): VolunteerRow => ({
      id: `v${i}`,
      name,
      device: DEVICES[i],
      executor: DEVICES[i].startsWith("wasm") ? "wasm" : "webgpu",
      connected: i !== 4,
      state: i === 4 ? "gone" : i === 2 ? "paused" : i === 3 ? "idle" : "computing",
      imagesPerSecond: [41.2, 28.7, 9.4, 3.1, 1.2, 12.6][i],
      accepted: Math.round(step * [1.6, 1.1, 0.4, 0.13, 0.05, 0.5][i]),
      refused: i === 3 ? 2 : 0,
      expired: [0, 0, 1, 4, 0, 0][i],
      samples: Math.round(step * [26, 18, 6, 2, 0.8, 8][i]),
      leases: i === 4 ? 0 : 1,
      lastStep: i === 4 ? Math.max(0, step - 140) : step,
      joinedAt: START + i * 84_000,
    }),
  );
  const epochs = Array.from({ length: Math.floor(step / STEPS_PER_EPOCH) }, (_, i) => i + 1);
  const best = evaluation && { step: evaluation.step, top1: evaluation.top1 };
  return {
    ...{ name: "run-7", id: "a1b2c3d4e5f60718", model: "mobilevit_xxs", parameters: 954_506 },
    phase: step === 0 ? "waiting" : "training",
    ...(step === 0 ? { reason: "Waiting for 1 more tab: open the link." } : {}),
    dataset: {
      name: "fashion-mnist",
      classes: ["T-shirt", "Trouser", "Pullover", "Dress", "Coat"],
      ...{ train: 10_000, validation: 2_000 },
    },
    ...{ step, totalSteps: TOTAL_STEPS, epoch: last?.epoch ?? 0, epochs: 10, startedAt: START },
    ...(last ? { loss: last.loss, lr: last.lr, etaSeconds: (TOTAL_STEPS - step) * 1.4 } : {}),
    imagesPerSecond: last?.images_per_second ?? 0,
    ...{ bytesIn: step * 15_280_000, bytesOut: step * 21_100_000 },
    ...(step > 0
      ? { open: { step: step + 1, kind: "gradient", units: 16, leased: 5, done: 7 } as const }
      : {}),
    ...(evaluation ? { evaluation, best } : {}),
    volunteers,
    refusals: (step > 0 ? { EXPIRED: 3, DUPLICATE: 11, NON_FINITE: 0, ZERO: 1 } : {}) as Record<
      string,
      number
    >,
    checkpoints: epochs.slice(-3).map((epoch) => ({
      file: `step-${epoch * STEPS_PER_EPOCH}.safetensors`,
      step: epoch * STEPS_PER_EPOCH,
      bytes: 19_100_000,
    })),
    config: {
      ...{ data: "fashion-mnist", model: "mobilevit_xxs", recipe: "small", epochs: 10 },
      ...{ "batch-size": 64, "unit-size": 16, lr: 0.002, "min-lr": 0.00002, smoothing: 0.1 },
      ...{ "img-size": 64, scales: "48:80:5:8", "scale-batches": "formula", seed: 42 },
      ...{ "crop-scale": [0.8, 1], codec: "f32", port: 8080 },
    },
  };
}
