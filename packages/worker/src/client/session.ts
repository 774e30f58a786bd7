/**
 * The volunteer itself: runs the state machine's effects on a real socket and a real thread, the same
 * in a page and in Node. It decides nothing; whatever happens becomes an event.
 */

import { type Hello, PROTOCOL_VERSION, type Refusal } from "@swarmvit/shared/protocol";
import type { BackendName, ComputeThread } from "./compute-port.ts";
import {
  type Connection,
  OfflineError,
  openConnection,
  type SocketTransport,
} from "./connection.ts";
import type { ProblemId } from "./problems.ts";
import { clampThrottle } from "./throttle.ts";
import { UploadRefused, uploadFrame } from "./upload.ts";
import { advance } from "./volunteer.ts";
import {
  type Ending,
  newVolunteer,
  type VolunteerEffect,
  type VolunteerEvent,
  type VolunteerState,
} from "./volunteer-state.ts";

export interface SessionOptions {
  /** "https://host:port". */
  readonly origin: string;
  /** From the link's fragment; sent in `hello` only. */
  readonly token?: string;
  /** Build id of the page, "node" without one. */
  readonly build: string;
  readonly name?: string;
  readonly backend: BackendName;
  readonly throttle: number;
  readonly insecureTls?: boolean;
  readonly transport?: SocketTransport;
  /** Starts a thread; again after its device was lost. */
  openThread(): ComputeThread;
  /** After every change of the state. */
  onState?(state: VolunteerState, event: VolunteerEvent): void;
  /** A connection attempt failed; more follow. */
  onConnectError?(error: Error): void;
  /** The coordinator is of another build: reload, or say what to do. */
  onOutdated?(refusal: Refusal): void;
}

export interface Session {
  state(): VolunteerState;
  pause(): void;
  resume(): void;
  setThrottle(percent: number): void;
  /** Hands work back and ends. */
  leave(): void;
  /** Ends with a problem that only the caller can see. */
  fail(problem: ProblemId, detail: string): void;
  /** Bytes of frames that the coordinator acknowledged. */
  bytesSent(): number;
  /** When everything is closed. */
  readonly done: Promise<Ending>;
}

/** Starts a volunteer: probes the device, connects, and computes until it ends. */
export function openSession(options: SessionOptions): Session {
  let state = newVolunteer();
  let throttle = clampThrottle(options.throttle);
  let thread: ComputeThread | undefined;
  let connection: Connection | undefined;
  let hello: Omit<Hello, "resume"> | undefined;
  let opening: string | undefined;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let bytesSent = 0;
  const frames = new Map<number, Uint8Array>();
  const uploads = new Map<number, AbortController>();
  let end: (ending: Ending) => void = () => {};
  const done = new Promise<Ending>((resolve) => {
    end = resolve;
  });

  const happen = (event: VolunteerEvent): void => {
    if (state.ended) return; // a socket closing, a thread's last word
    const next = advance(state, event);
    state = next.state;
    for (const effect of next.effects) perform(effect);
    options.onState?.(state, event);
  };

  const perform = (effect: VolunteerEffect): void => {
    switch (effect.type) {
      case "hello":
        greet(effect.resume);
        break;
      case "hello-later":
        clearTimeout(retry);
        retry = setTimeout(() => happen({ type: "connected" }), effect.afterMs);
        break;
      case "want":
        connection?.want({ leases: effect.leases });
        break;
      case "open":
        openRun();
        break;
      case "restart":
        void thread?.terminate();
        thread = undefined;
        opening = undefined;
        openRun();
        break;
      case "prefetch":
        void thread?.port.prefetch(effect.lease).catch(() => {});
        break;
      case "compute":
        compute(effect.lease);
        break;
      case "drop":
        void thread?.port.stop(effect.lease).catch(() => {});
        uploads.get(effect.lease)?.abort(new Error("dropped"));
        uploads.delete(effect.lease);
        frames.delete(effect.lease);
        break;
      case "upload":
        upload(effect.lease);
        break;
      case "abandon":
        connection?.abandon(effect.abandon);
        break;
      case "leave":
        connection?.leave();
        break;
      case "outdated":
        options.onOutdated?.(effect.refusal);
        break;
      case "end":
        void close().then(() => end(effect.ending));
        break;
    }
  };

  const greet = (resume: Hello["resume"]): void => {
    if (!hello || !connection) return;
    connection.hello(resume ? { ...hello, resume } : hello).then(
      (answer) =>
        happen(
          answer.ok
            ? { type: "welcome", welcome: answer }
            : { type: "turned-away", refusal: answer },
        ),
      // The link went while we waited: the next `connected` says hello again.
      () => {},
    );
  };

  const startThread = async (): Promise<ComputeThread> => {
    const started = options.openThread();
    thread = started;
    void started.died.then((error) => {
      if (thread === started) happen({ type: "thread-died", detail: error.message });
    });
    const probed = await started.port.probe(options.backend);
    if (!probed.ok) throw new Unable(probed.problem as ProblemId, probed.detail);
    happen({ type: "device", device: probed.device, wrong: probed.wrong });
    await started.port.setThrottle(throttle);
    hello = {
      protocol: PROTOCOL_VERSION,
      build: options.build,
      token: options.token,
      name: options.name,
      device: probed.device,
    };
    return started;
  };

  const openRun = (): void => {
    const { run } = state;
    if (!run || opening === run.id) return;
    opening = run.id;
    const ready = thread ? Promise.resolve(thread) : startThread();
    ready
      .then(({ port }) => port.open(run, options.origin))
      .then((opened) => {
        opening = undefined;
        if (opened.ok) happen({ type: "opened" });
        else throw new Unable(opened.problem as ProblemId, opened.detail);
      })
      .catch(unable);
  };

  const compute = (lease: Parameters<ComputeThread["port"]["compute"]>[0]): void => {
    thread?.port
      .compute(lease, (progress) => happen({ type: "progress", progress }))
      .then((result) => {
        if (result.ok) {
          frames.set(lease.lease, result.frame);
          happen({ type: "computed", lease: lease.lease });
        } else if (result.reason !== "stopped") {
          const { reason, sample, detail } = result;
          happen({ type: "failed", lease: lease.lease, reason, sample, detail });
        }
      })
      .catch((error: unknown) => {
        happen({ type: "failed", lease: lease.lease, reason: "error", detail: String(error) });
      });
  };

  const upload = (lease: number): void => {
    const frame = frames.get(lease);
    if (!frame || !connection) return;
    uploads.get(lease)?.abort(new Error("started again"));
    const stop = new AbortController();
    uploads.set(lease, stop);
    let acknowledged = 0;
    uploadFrame(connection, lease, frame, stop.signal, (offset) => {
      bytesSent += Math.max(0, offset - acknowledged);
      acknowledged = Math.max(acknowledged, offset);
    })
      .then(() => happen({ type: "sent", lease }))
      .catch((error: unknown) => {
        if (stop.signal.aborted || error instanceof OfflineError) return; // begun again by `welcome`
        const refusal: Refusal =
          error instanceof UploadRefused
            ? error.refusal
            : { ok: false, code: "MALFORMED", message: String(error) };
        happen({ type: "upload-refused", lease, refusal });
      });
  };

  const unable = (error: unknown): void => {
    const problem = error instanceof Unable ? error.problem : "error";
    happen({ type: "problem", problem, detail: error instanceof Error ? error.message : "" });
  };

  const close = async (): Promise<void> => {
    clearTimeout(retry);
    for (const stop of uploads.values()) stop.abort(new Error("closed"));
    frames.clear();
    await connection?.close();
    const closing = thread;
    thread = undefined;
    await closing?.terminate();
  };

  const connect = (): void => {
    if (state.ended) return;
    connection = openConnection({
      origin: options.origin,
      insecureTls: options.insecureTls,
      transport: options.transport,
      on: {
        connected: () => happen({ type: "connected" }),
        disconnected: () => happen({ type: "disconnected" }),
        failed: (error) => options.onConnectError?.(error),
        lease: (lease) => happen({ type: "lease", lease }),
        revoke: (revoke) => happen({ type: "revoke", revoke }),
        verdict: (verdict) => happen({ type: "verdict", verdict }),
        status: (status) => happen({ type: "status", status }),
        notice: (notice) => happen({ type: "notice", notice }),
      },
    });
  };

  startThread().then(connect).catch(unable);

  return {
    state: () => state,
    pause: () => happen({ type: "pause" }),
    resume: () => happen({ type: "resume" }),
    setThrottle(percent) {
      throttle = clampThrottle(percent);
      void thread?.port.setThrottle(throttle).catch(() => {});
    },
    leave: () => happen({ type: "leave" }),
    fail: (problem, detail) => happen({ type: "problem", problem, detail }),
    bytesSent: () => bytesSent,
    done,
  };
}

class Unable extends Error {
  override readonly name = "Unable";
  readonly problem: ProblemId;
  constructor(problem: ProblemId, detail: string) {
    super(detail);
    this.problem = problem;
  }
}
