/**
 * Every message between a volunteer (or a dashboard) and the coordinator, both directions: types
 * for what the coordinator says, schemas for what strangers say. Control and gradients go over
 * Socket.IO (websocket only); weights and shards go over HTTP GET by hash.
 *
 * A volunteer's life: connect to /volunteer → `hello` → `want` n leases → (`lease` → fetch weights
 * and shards → compute → `offer` → `chunk`… → `verdict`)* → `leave`.
 */

import * as z from "zod";
import type { Codec } from "./codec.ts";
import type { ContributionKind, RefusalCode } from "./frame.ts";
import type { Unit } from "./planner.ts";
import type { HistoryPage, Phase, RunState } from "./run.ts";
import type { VariantName } from "./variants.ts";

/** Raised when a message changes its meaning; a mismatch reloads the tab once. */
export const PROTOCOL_VERSION = 1;
/** Largest chunk of a frame in one message: small enough that heartbeats pass between chunks. */
export const CHUNK_BYTES = 256 * 1024;
/** Chunks in flight that a credit of one upload allows. */
export const CHUNK_WINDOW = 4;
export const VOLUNTEER_NAMESPACE = "/volunteer";
export const DASHBOARD_NAMESPACE = "/dashboard";

const text = (max: number) => z.string().max(max);
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

/** What a volunteer says it computes with. Shown to people and used for planning; never trusted for arithmetic. */
export const deviceSchema = z.strictObject({
  executor: z.enum(["webgpu", "wasm", "tfjs"]),
  description: text(200),
  deterministic: z.boolean(),
  software: z.boolean(),
  /** "browser" or "node", with a version: "Chromium 156", "node 20.20". */
  platform: text(100),
  /** Bytes a unit's plan may take; the coordinator leases only what fits. */
  memoryBytes: count,
});
export type Device = z.infer<typeof deviceSchema>;

/** First message on a socket; acknowledged with `Welcome` or `Refusal`. */
export const helloSchema = z.strictObject({
  protocol: z.number().int(),
  /** Build id of the page, so that a stale tab reloads. Node volunteers send "node". */
  build: text(64),
  token: text(128).optional(),
  /** Who it was before a reconnect; the secret proves it. */
  resume: z.strictObject({ id: text(64), secret: text(128) }).optional(),
  name: text(40).optional(),
  device: deviceSchema,
});
export type Hello = z.infer<typeof helloSchema>;

/** How many leases the volunteer would like to hold at once; 0 pauses it (held leases are handed back). */
export const wantSchema = z.strictObject({ leases: z.number().int().min(0).max(16) });
export type Want = z.infer<typeof wantSchema>;

/** "My frame for this lease is ready": acknowledged with `Credit` or `Refusal`. */
export const offerSchema = z.strictObject({ lease: count, bytes: count });
export type Offer = z.infer<typeof offerSchema>;

/** One chunk at an offset; the bytes ride beside as the second argument. Acknowledged with `Credit` or `Refusal`. */
export const chunkSchema = z.strictObject({ lease: count, offset: count });
export type Chunk = z.infer<typeof chunkSchema>;

/** "I will not finish this lease": re-leased at once. */
export const abandonSchema = z.strictObject({
  lease: count,
  reason: z.enum([
    "paused",
    "leaving",
    "undecodable", // `sample` names which
    "non-finite",
    "device-lost",
    "out-of-memory",
    "weights", // the weights or shards could not be fetched or did not match their hash
    "error",
  ]),
  sample: count.optional(),
  detail: text(300).optional(),
});
export type Abandon = z.infer<typeof abandonSchema>;

/** Why a message was refused, and what to do about it, in words for the person at the device. */
export interface Refusal {
  readonly ok: false;
  readonly code: RefusalCode | JoinRefusal | ConnectionRefusal;
  readonly message: string;
}

export type JoinRefusal =
  | "PROTOCOL" // reload once
  | "BUILD" // reload once
  | "JOIN_TOKEN" // ask the host for a new link
  | "FULL"
  | "RATE"
  | "FINISHED"
  | "REMOVED";

/** Why a connection is not made, or is ended; `/api/admission` says it to pages, whose sockets cannot. */
export type ConnectionRefusal =
  | "ORIGIN" // a page of another site
  | "ADDRESS" // too many connections from one address
  | "BYTES" // more than its address may move
  | "SILENT" // no hello in time
  | "UNREAD" // it does not read what it is sent
  | "HOST_TOKEN"; // a dashboard's control without the host's token

/** What is the same for the whole run and every lease of it. */
export interface RunInfo {
  /** 16 hex digits, as in the frame. */
  readonly id: string;
  readonly name: string;
  readonly model: string;
  readonly variant: VariantName;
  readonly classes: readonly string[];
  readonly dataset: string;
  readonly samples: number;
  readonly codec: Codec;
  readonly smoothing: number;
  readonly dropout: number;
  readonly headDropout: number;
  readonly augment: AugmentConfig;
  readonly parameterCount: number;
  /** Largest size and batch that a lease can have, for tuning and memory. */
  readonly sizes: readonly {
    readonly height: number;
    readonly width: number;
    readonly batch: number;
  }[];
}

/** Of training (random-resized-crop, flip) and of evaluation (resize and centre crop). */
export interface AugmentConfig {
  /** Area of the crop as a share of the image: [low, high]. */
  readonly cropScale: readonly [number, number];
  /** Aspect ratio of the crop: [low, high]. */
  readonly cropRatio: readonly [number, number];
  readonly flip: boolean;
  /** Evaluation: the shorter side is resized to size·this, then the centre is cropped; 1 resizes only. */
  readonly evalResize: number;
}

export interface Welcome {
  readonly ok: true;
  readonly volunteer: { readonly id: string; readonly secret: string; readonly name: string };
  readonly run: RunInfo;
  readonly status: RunStatus;
}

/** A shard that a lease needs: sample id s is entry s - first of `/shards/<sha256>`. */
export interface ShardRef {
  readonly sha256: string;
  readonly first: number;
  readonly count: number;
  readonly bytes: number;
}

/** One node given to one volunteer. Self-contained: everything to compute and answer it. */
export interface Lease {
  readonly lease: number;
  /** 32 hex digits, to be put into the frame. */
  readonly token: string;
  readonly kind: ContributionKind;
  readonly step: number;
  readonly level: number;
  readonly index: number;
  readonly units: readonly Unit[];
  /** Samples of all units: the frame's `samples`. */
  readonly samples: number;
  readonly shards: readonly ShardRef[];
  /** Shards that a lease of the next step is likely to need: to be fetched while this one is computed. */
  readonly ahead?: readonly ShardRef[];
  /** SHA-256 of the parameter vector at `/weights/<sha256>`, float32. */
  readonly weights: string;
  /** SHA-256 of the statistics vector at `/weights/<sha256>`; only for evaluations. */
  readonly statistics?: string;
  readonly codec: Codec;
  /** Exact length of the frame. */
  readonly bytes: number;
  /** Milliseconds from now until others may be given the node. */
  readonly deadlineMs: number;
}

/** Bytes received so far (resume from there), and how many more chunks may be in flight. */
export interface Credit {
  readonly ok: true;
  readonly offset: number;
  readonly credits: number;
}

/** What became of a contribution. `accepted` false carries a code. */
export interface Verdict {
  readonly lease: number;
  readonly accepted: boolean;
  readonly code?: RefusalCode;
  readonly message?: string;
  /** Volunteer's own totals after it. */
  readonly samples: number;
  readonly contributions: number;
}

/** The run in a few numbers, for the join page: volatile, at most 2 Hz. */
export interface RunStatus {
  readonly phase: Phase;
  readonly reason?: string;
  readonly step: number;
  readonly totalSteps: number;
  readonly epoch: number;
  readonly epochs: number;
  readonly loss?: number;
  readonly top1?: number;
  readonly volunteers: number;
  readonly imagesPerSecond: number;
}

/** The lease is no longer wanted: stop computing it. */
export interface Revoke {
  readonly lease: number;
  readonly code: RefusalCode;
}

/** The run has something to say to this volunteer; `final` means: do not reconnect. */
export interface Notice {
  readonly code: JoinRefusal | "PAUSED" | "SELF_TEST";
  readonly message: string;
  readonly final: boolean;
}

export interface VolunteerToServer {
  hello(hello: Hello, ack: (answer: Welcome | Refusal) => void): void;
  want(want: Want): void;
  offer(offer: Offer, ack: (answer: Credit | Refusal) => void): void;
  chunk(chunk: Chunk, bytes: Uint8Array, ack: (answer: Credit | Refusal) => void): void;
  abandon(abandon: Abandon): void;
  /** Answered when it has been heard: what is written just before a socket closes may not be. */
  leave(ack: () => void): void;
}

export interface ServerToVolunteer {
  lease(lease: Lease): void;
  revoke(revoke: Revoke): void;
  verdict(verdict: Verdict): void;
  status(status: RunStatus): void;
  notice(notice: Notice): void;
}

/** `/dashboard`: read-only unless `control` carries the host's token. */
export const controlSchema = z.strictObject({
  token: text(128),
  action: z.enum(["pause", "resume", "rollback", "save", "stop"]),
});
export type Control = z.infer<typeof controlSchema>;

export interface DashboardToServer {
  control(
    control: Control,
    ack: (answer: { ok: true } | { ok: false; message: string }) => void,
  ): void;
}

export interface ServerToDashboard {
  /** Volatile, at most 4 Hz. */
  state(state: RunState): void;
  /** Records since the last one sent on this socket; a gap is filled from `/api/history`. */
  history(page: HistoryPage): void;
}
