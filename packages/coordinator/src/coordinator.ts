/**
 * The coordinator: a pure core, and around it sockets, HTTP, the thread for long vectors and the
 * run's directory. The only place that reads the clock and makes timers for the core.
 */

import { createHmac, randomBytes } from "node:crypto";
import type { Control } from "@swarmvit/shared/protocol";
import type { MetricRecord, RunState } from "@swarmvit/shared/run";
import type { Effect } from "./core/messages.ts";
import { CHECKPOINT_EVERY, type SessionOptions } from "./core/options.ts";
import { openSession, type Session } from "./core/session.ts";
import { openEventQueue } from "./event-queue.ts";
import { type OpenRun, type OpenRunOptions, openRun } from "./open-run.ts";
import { ADMISSION_DEFAULTS, type AdmissionLimits, openAdmission } from "./server/admission.ts";
import { openDashboardSockets } from "./server/dashboard-sockets.ts";
import { GUARD_DEFAULTS, type GuardLimits } from "./server/guard.ts";
import { createHttpApp } from "./server/http.ts";
import { openMetrics } from "./server/metrics.ts";
import { PACKET_DEFAULTS } from "./server/packet-decoder.ts";
import { openPublishedVectors } from "./server/published-vectors.ts";
import { openRefusals } from "./server/refusals.ts";
import { createSocketServer, SERVER_DEFAULTS, type ServerLimits } from "./server/server.ts";
import { UNREAD_DEFAULTS } from "./server/unread-watch.ts";
import { openUploads } from "./server/uploads.ts";
import { openVolunteerSockets } from "./server/volunteer-sockets.ts";
import { crashPoint } from "./storage/crash-point.ts";
import { isVectorEffect, openVectorEffects } from "./vector-effects.ts";

export interface CoordinatorOptions extends OpenRunOptions {
  /** The shard files, each named by its SHA-256. */
  readonly shardsDirectory: string;
  /** Built pages; without them only programs can join. */
  readonly pagesDirectory?: string;
  /** Build id of the pages. */
  readonly build: string;
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly host: string;
  /** 0: any free one. When it is in use, one of the next twenty. */
  readonly port: number;
  readonly joinToken?: string;
  readonly hostToken: string;
  /** Memory that a unit needs on a device; absent: everything fits. */
  readonly unitBytes?: SessionOptions["unitBytes"];
  readonly checkpointEvery?: number;
  readonly limits?: Partial<Limits>;
}

/** What strangers may use up. */
export interface Limits extends AdmissionLimits, GuardLimits, ServerLimits {
  /** All frames on their way in together. */
  readonly uploadBytes: number;
}

export interface Finished {
  readonly reason: "done" | "stopped" | "failed";
  readonly detail?: string;
}

export interface Coordinator {
  /** For this machine, without a token: "http://127.0.0.1:8080". */
  readonly url: string;
  readonly port: number;
  state(): RunState;
  /** Called when something has changed, at most 4 times a second. Returns what unsubscribes. */
  onState(listener: (state: RunState) => void): () => void;
  onRecord(listener: (record: MetricRecord) => void): () => void;
  control(action: Control["action"]): void;
  /** Everything is saved. The server serves on until `close`. */
  readonly finished: Promise<Finished>;
  /** Closes sockets, thread, files and the lock; saves nothing by itself: `control("stop")` does. */
  close(): Promise<void>;
}

const UPLOAD_BYTES = 512 * 1024 * 1024;
const REFRESH_MS = 250;

/**
 * Opens the run's directory and the server, and begins. Throws a `RunLockedError` where another
 * coordinator has the run open, a `PortError` where no port is free, and what the files say.
 */
export async function openCoordinator(options: CoordinatorOptions): Promise<Coordinator> {
  const run = await openRun(options, nowMs());
  try {
    return await serve(options, run);
  } catch (error) {
    await run.close();
    throw error;
  }
}

async function serve(options: CoordinatorOptions, run: OpenRun): Promise<Coordinator> {
  const { log } = options;
  const limits: Limits = {
    ...ADMISSION_DEFAULTS,
    ...GUARD_DEFAULTS,
    ...SERVER_DEFAULTS,
    ...PACKET_DEFAULTS,
    ...UNREAD_DEFAULTS,
    uploadBytes: UPLOAD_BYTES,
    ...options.limits,
  };
  const session = sessionOf(options, run);
  const history = (since: number) => session.history(since);
  const published = openPublishedVectors(
    (bytes) => void run.vectors.recycle(bytes).catch(() => {}),
  );
  published.add(run.start);
  const uploads = openUploads(limits.uploadBytes);
  const admission = openAdmission(limits, log);
  const refusals = openRefusals({ nowMs, log });
  const metrics = openMetrics({
    refusals,
    state: () => session.state(nowMs()),
    sockets: () => admission.sockets,
    uploadBytes: () => uploads.bytesInFlight,
  });
  const stateListeners = new Set<(state: RunState) => void>();
  const recordListeners = new Set<(record: MetricRecord) => void>();
  let joinUrl: string | undefined;
  let problem: string | undefined;
  let changed = true;
  let closed = false;

  const state = (local: boolean): RunState => {
    const now = session.state(nowMs());
    return local ? { ...now, joinUrl } : now;
  };
  const report = (text: string | undefined) => {
    if (text && text !== problem) log(text);
    problem = text;
  };
  let finish: (how: Finished) => void = () => {};
  const finished = new Promise<Finished>((resolve) => {
    finish = resolve;
  });
  const fail = (error: unknown) => {
    if (closed) return;
    const detail = error instanceof Error ? error.message : String(error);
    report(`the run cannot go on: ${detail}`);
    finish({ reason: "failed", detail });
  };

  const app = createHttpApp({
    pagesDirectory: options.pagesDirectory,
    shardDirectory: options.shardsDirectory,
    runDirectory: options.runDirectory,
    state,
    history,
    published,
    health: () => problem,
    admission,
    refusals,
    metrics: () => metrics.text(),
    nowMs,
  });
  const { tls, host, port: wanted } = options;
  const tools = { limits, admission, refusals, nowMs, log };
  const server = createSocketServer({ app, tls, host, port: wanted, ...tools });
  const { io, greeted } = server;
  const events = openEventQueue({
    session,
    perform,
    handled(event) {
      changed = true;
      if (event.type === "committed") crashPoint("step-told");
    },
    takeTraffic: server.connections.takeTraffic,
    fail,
    nowMs,
  });
  const { dispatch } = events;
  const volunteers = openVolunteerSockets({
    io,
    uploads,
    build: options.build,
    joinToken: options.joinToken,
    table: run.plan.table,
    dispatch,
    leaseOf: (lease, volunteer) => session.findLease(lease, volunteer),
    greeted,
    ...tools,
  });
  const control = (action: Control["action"]) => dispatch({ type: "control", action });
  const dashboards = openDashboardSockets({
    io,
    hostToken: options.hostToken,
    state,
    history,
    control,
    greeted,
    ...tools,
  });
  const vectorEffects = openVectorEffects({
    run,
    options,
    published,
    uploads,
    dispatch,
    report,
    fail,
  });

  function perform(effect: Effect): void {
    if (isVectorEffect(effect)) vectorEffects.perform(effect);
    else if (effect.type === "drop-upload") uploads.drop(effect.lease);
    else if (effect.type === "record") write(effect.record);
    else if (effect.type === "finished") finish({ reason: effect.reason, detail: effect.detail });
    else {
      if (effect.type === "lease") published.pin(effect.lease);
      volunteers.send(effect);
    }
  }

  function write(record: MetricRecord): void {
    try {
      run.metrics.append(record);
      if (record.kind === "step") crashPoint("line-written");
      if (record.kind === "eval") run.metrics.syncInBackground().catch(storageFailed);
    } catch (error) {
      storageFailed(error);
    }
    metrics.observe(record);
    for (const listener of recordListeners) listener(record);
  }

  function storageFailed(error: unknown): void {
    const detail = error instanceof Error ? error.message : error;
    report(`metrics.jsonl could not be written: ${detail}`);
  }

  const refresh = setInterval(() => {
    dashboards.refresh();
    if (!changed) return;
    changed = false;
    if (stateListeners.size === 0) return;
    const now = state(true);
    for (const listener of stateListeners) listener(now);
  }, REFRESH_MS);
  const stop = async () => {
    closed = true;
    events.close();
    clearInterval(refresh);
    metrics.close();
    await server.close();
  };

  const port = await server.listen().catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  const url = originOf(options, port);
  joinUrl = `${url}/${options.joinToken ? `#${options.joinToken}` : ""}`;
  dispatch({ type: "opened", resumedFrom: run.resumedFrom, damage: run.damage });

  return {
    url,
    port,
    state: () => state(true),
    onState: (listener) => subscribe(stateListeners, listener),
    onRecord: (listener) => subscribe(recordListeners, listener),
    control,
    finished,
    async close() {
      if (closed) return;
      await stop();
      await vectorEffects.settled();
      await run.close();
      finish({ reason: "stopped" }); // says nothing new where it finished before
    },
  };
}

/** Monotonic, and close to the wall clock: setting the clock must not end leases. */
function nowMs(): number {
  return Math.round(performance.timeOrigin + performance.now());
}

function sessionOf(options: CoordinatorOptions, run: OpenRun): Session {
  const { record, plan, core, start, history, checkpoints } = run;
  return openSession({
    ...plan.session,
    unitBytes: options.unitBytes,
    checkpointEvery: options.checkpointEvery ?? CHECKPOINT_EVERY,
    start: core ?? start.weights,
    fence: record.fence,
    tools: {
      mac: (text) => createHmac("sha256", record.secret).update(text).digest("hex").slice(0, 32),
      freshId: () => randomBytes(8).toString("hex"),
    },
    startedAt: record.startedAt,
    history,
    checkpoints,
  });
}

function originOf({ tls, host }: CoordinatorOptions, port: number): string {
  const anywhere = ["0.0.0.0", "::", ""].includes(host);
  const name = anywhere ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
  return `${tls ? "https" : "http"}://${name}:${port}`;
}

function subscribe<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
