/** What a volunteer knows of itself, what can happen to it, and what it can want done: the words of its state machine. */

import type {
  Abandon,
  Device,
  Lease,
  Notice,
  Refusal,
  Revoke,
  RunInfo,
  RunStatus,
  Verdict,
  Welcome,
} from "@swarmvit/shared/protocol";
import type { LeaseProgress } from "./compute-port.ts";
import { type Contribution, NO_CONTRIBUTION } from "./contribution.ts";
import type { ProblemId } from "./problems.ts";

export interface HeldLease {
  readonly lease: Lease;
  /** `sent` waits for its verdict. */
  readonly stage: "queued" | "computing" | "sending" | "sent";
}

export type Ending =
  | { readonly reason: "finished" }
  | { readonly reason: "left" }
  | { readonly reason: "problem"; readonly problem: ProblemId; readonly detail: string };

export interface VolunteerState {
  readonly link: "offline" | "greeting" | "online";
  readonly identity?: { readonly id: string; readonly secret: string; readonly name: string };
  /** What it computes with, once found. */
  readonly device?: Device;
  /** What a better device did wrong at its self-test, for which it is not used. */
  readonly wrongDevice?: string;
  readonly run?: RunInfo;
  readonly status?: RunStatus;
  /** The thread holds an executor of this run. */
  readonly ready: boolean;
  /** In the order of their arrival. */
  readonly leases: readonly HeldLease[];
  readonly paused: boolean;
  readonly progress?: LeaseProgress;
  readonly imagesPerSecond: number;
  readonly contribution: Contribution;
  /** The last thing the coordinator said to this volunteer. */
  readonly message?: string;
  /** Failures of one kind in a row. */
  readonly strikes: { readonly reason: string; readonly count: number };
  readonly restarts: number;
  readonly ended?: Ending;
}

export type VolunteerEvent =
  | { readonly type: "device"; readonly device: Device; readonly wrong?: string }
  | { readonly type: "connected" }
  | { readonly type: "disconnected" }
  | { readonly type: "welcome"; readonly welcome: Welcome }
  | { readonly type: "turned-away"; readonly refusal: Refusal }
  /** The executor of the run is there. */
  | { readonly type: "opened" }
  | { readonly type: "lease"; readonly lease: Lease }
  | { readonly type: "progress"; readonly progress: LeaseProgress }
  /** The frame of a lease is made; the shell keeps it under the lease's number. */
  | { readonly type: "computed"; readonly lease: number }
  | {
      readonly type: "failed";
      readonly lease: number;
      readonly reason: Abandon["reason"];
      readonly sample?: number;
      readonly detail: string;
    }
  | { readonly type: "thread-died"; readonly detail: string }
  | { readonly type: "sent"; readonly lease: number }
  | { readonly type: "upload-refused"; readonly lease: number; readonly refusal: Refusal }
  | { readonly type: "verdict"; readonly verdict: Verdict }
  | { readonly type: "revoke"; readonly revoke: Revoke }
  | { readonly type: "status"; readonly status: RunStatus }
  | { readonly type: "notice"; readonly notice: Notice }
  | { readonly type: "pause" }
  | { readonly type: "resume" }
  | { readonly type: "leave" }
  | { readonly type: "problem"; readonly problem: ProblemId; readonly detail: string };

export type VolunteerEffect =
  | { readonly type: "hello"; readonly resume?: { readonly id: string; readonly secret: string } }
  /** Say hello again after this long: the coordinator was full or asked for patience. */
  | { readonly type: "hello-later"; readonly afterMs: number }
  | { readonly type: "want"; readonly leases: number }
  /** Make the executor of this run; answered by `opened` or `problem`. */
  | { readonly type: "open"; readonly run: RunInfo }
  /** A new thread, then `open`: the old one is dead or its device is lost. */
  | { readonly type: "restart"; readonly run: RunInfo }
  | { readonly type: "prefetch"; readonly lease: Lease }
  | { readonly type: "compute"; readonly lease: Lease }
  /** Stop computing or uploading it, and forget its frame. */
  | { readonly type: "drop"; readonly lease: number }
  /** Offer the frame and send it from the offset that the coordinator has. */
  | { readonly type: "upload"; readonly lease: number }
  | { readonly type: "abandon"; readonly abandon: Abandon }
  | { readonly type: "leave" }
  /** This page or program is of another build than the coordinator. */
  | { readonly type: "outdated"; readonly refusal: Refusal }
  | { readonly type: "end"; readonly ending: Ending };

export interface Advance {
  readonly state: VolunteerState;
  readonly effects: readonly VolunteerEffect[];
}

/** A volunteer before its first connection. */
export function newVolunteer(): VolunteerState {
  return {
    link: "offline",
    ready: false,
    leases: [],
    paused: false,
    imagesPerSecond: 0,
    contribution: NO_CONTRIBUTION,
    strikes: { reason: "", count: 0 },
    restarts: 0,
  };
}

/** What a person is told that the volunteer does: one of these, everywhere. */
export type StateWord =
  | "Connecting"
  | "Downloading model"
  | "Waiting for others"
  | "Computing"
  | "Sending"
  | "Paused by you"
  | "Paused by the host"
  | "Finished"
  | "Left"
  | "Problem";

/** The word for a state. */
export function stateWord(state: VolunteerState): StateWord {
  const { ended } = state;
  if (ended?.reason === "problem") return "Problem";
  if (ended) return ended.reason === "left" ? "Left" : "Finished";
  if (state.link !== "online") return "Connecting";
  if (state.paused) return "Paused by you";
  if (!state.ready) return "Downloading model";
  if (state.leases.some(({ stage }) => stage === "computing"))
    return state.progress?.stage === "fetching" ? "Downloading model" : "Computing";
  if (state.leases.some(({ stage }) => stage === "sending")) return "Sending";
  const phase = state.status?.phase;
  if (phase === "paused" || phase === "diverged") return "Paused by the host";
  return "Waiting for others";
}
