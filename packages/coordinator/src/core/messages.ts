/**
 * The border of the pure core: what happens to it (`CoreEvent`, with the time passed in) and what
 * it wants done (`Effect`). The core handles ids, counts and hashes; long vectors stay in the
 * shell, named by (step, node), and work on them is an effect that an event answers.
 *
 * Effects of one call are done in their order. Those on vectors (`verify`, `add`, `alias`, `commit`,
 * `checkpoint`, `save-best`, `forget-step`, `rollback`) also keep their order between calls, as if
 * done one after another; `verify`, `add`, `commit`, `checkpoint` and `rollback` are each answered
 * exactly once, by an event of a later call. `committed` means that the step is on disk: only then
 * does the core publish it. Where the disk refuses, the core asks again later. `step` counts from 0 in leases and in effects and
 * events on nodes; in checkpoints, records, statuses and snapshots it is the number of commits.
 */

import type { ContributionKind, FrameId, RefusalCode, Report } from "@swarmvit/shared/frame";
import type {
  Abandon,
  Hello,
  Lease,
  Notice,
  Refusal,
  Revoke,
  RunStatus,
  Verdict,
  Want,
  Welcome,
} from "@swarmvit/shared/protocol";
import type { MetricRecord, StepRecord } from "@swarmvit/shared/run";
import type { Node } from "@swarmvit/shared/tree";

/** Hashes of the vectors that are published at one step. */
export interface PublishedWeights {
  /** p_t, what gradients are taken at. */
  readonly parameters: string;
  readonly statistics: string;
  /** The moving averages; only where these weights are to be evaluated, or training starts from them. */
  readonly emaParameters?: string;
  readonly emaStatistics?: string;
}

export type CoreEvent =
  /** The doors are open; first event of every start. Recorded, with what was found damaged. */
  | { type: "opened"; resumedFrom?: string; damage?: readonly string[] }
  /** A socket said hello, with the right token and build (the shell's business). Answered by `answer` with the same request id. */
  | { type: "hello"; request: number; hello: Hello }
  | { type: "want"; volunteer: string; want: Want }
  | { type: "abandon"; volunteer: string; abandon: Abandon }
  | { type: "leave"; volunteer: string }
  /** The socket that spoke for this volunteer last is gone; leases stand until their deadline. */
  | { type: "disconnected"; volunteer: string }
  /** A whole frame has arrived for a lease (the shell has kept its bytes under the lease's number), so long after its offer. */
  | { type: "uploaded"; volunteer: string; lease: number; tookMs?: number }
  /** Bytes on the wire since the last such event, for the books: about once a second, and before a step ends. */
  | { type: "traffic"; bytesIn: number; bytesOut: number }
  | { type: "verified"; lease: number; report: Report }
  /** The frame is not what was leased: the shell has dropped it. Of a lease that is not being verified, its volunteer has been told. */
  | { type: "refused"; lease: number; code: RefusalCode; detail: string }
  /** The sum of two nodes is in place. */
  | { type: "added"; step: number; node: Node }
  /**
   * The step is applied, and on disk. If not `finite`, nothing was changed or published, and
   * `weights` are the old ones.
   */
  | {
      type: "committed";
      step: number;
      weights: PublishedWeights;
      gradNorm: number;
      finite: boolean;
    }
  /** The step's record could not be written (no room): nothing is published. The same `commit` may follow. */
  | { type: "commit-failed"; step: number; detail: string }
  | { type: "checkpointed"; step: number; file: string; bytes: number }
  | { type: "checkpoint-failed"; step: number; detail: string }
  | { type: "control"; action: "pause" | "resume" | "save" | "stop" | "rollback" }
  /** After a `rollback` effect: training goes on from this step's weights. */
  | { type: "rolled-back"; step: number; weights: PublishedWeights }
  /** There is nothing to go back to. */
  | { type: "rollback-failed"; detail: string }
  /** Time has passed; sent once after opening, and at `wakeAt`. */
  | { type: "tick" };

export type Effect =
  | { type: "answer"; request: number; volunteer?: string; answer: Welcome | Refusal }
  /** Also sent again, with the time that is left, after a volunteer has returned. */
  | { type: "lease"; to: string; lease: Lease }
  | { type: "revoke"; to: string; revoke: Revoke }
  | { type: "verdict"; to: string; verdict: Verdict }
  | { type: "notice"; to: string; notice: Notice }
  /** To everyone on the join page; the shell may drop it. */
  | { type: "status"; status: RunStatus }
  /**
   * Decode the lease's frame, check it against `expected` and keep its vectors as `node` (an
   * evaluation has none); answered by `verified` or `refused`. Never two at once for one node, and
   * never for a node that is filled or being added. The upload is used up either way.
   */
  | { type: "verify"; lease: number; expected: FrameId; node: Node }
  /** Forget the bytes of a lease's upload (late, duplicate, revoked): it will not be verified. */
  | { type: "drop-upload"; lease: number }
  /** node = left + right, elementwise in float32, left first (gradient and statistics); answered by `added`. */
  | { type: "add"; step: number; node: Node; left: Node; right: Node }
  /** node = child: the other half lies beyond U. Immediate, no answer. */
  | { type: "alias"; step: number; node: Node; child: Node }
  /**
   * Average the root over `samples`, step AdamW and EMA, make the next weights, and write all that
   * was applied to the write-ahead log, with `log`; answered by `committed` once it is on disk for
   * sure, else by `commit-failed`. After that the same effect comes again: then only the writing is
   * tried again.
   */
  | {
      type: "commit";
      step: number;
      root: Node;
      samples: number;
      lr: number;
      log: StepLog;
      /** The new weights are evaluated before the next step: their moving averages are published too. */
      evaluated: boolean;
    }
  /** Vectors of this step are no longer needed; none of them is being worked on. */
  | { type: "forget-step"; step: number }
  /** Write a checkpoint of the state after `step` commits, as it is now; `core` is what a session starts from. Answered. */
  | { type: "checkpoint"; step: number; core: CoreSnapshot; final: boolean }
  /** Make `best.safetensors` of the EMA weights now in force. */
  | { type: "save-best"; step: number; top1: number }
  /**
   * Load the newest checkpoint that is older than `before` steps, or the start, and give up all that
   * is later: checkpoints, log, lines of metrics.jsonl. Answered by `rolled-back`.
   */
  | { type: "rollback"; before: number }
  /** Append to metrics.jsonl and show on dashboards. */
  | { type: "record"; record: MetricRecord }
  /** The run is over (or asked to stop): everything is saved. */
  | { type: "finished"; reason: "done" | "stopped" | "failed"; detail?: string };

/** What the write-ahead log keeps of a step beside its vectors; plain JSON. */
export interface StepLog {
  /** The snapshot after the step; the weights it names follow from the vectors. */
  readonly core: Omit<CoreSnapshot, "weights">;
  /** The step's line of metrics.jsonl, without what only the vectors tell. */
  readonly record: Omit<StepRecord, "grad_norm">;
  /** Samples of the plan that are behind the step. */
  readonly cursor: number;
  /** The leases whose contributions make up the step: their nodes hold each unit once. */
  readonly leases: readonly CountedLease[];
}

export interface CountedLease {
  readonly lease: number;
  readonly volunteer: string;
  readonly level: number;
  readonly index: number;
}

/** What the core keeps across a restart, beside the vectors; plain JSON. */
export interface CoreSnapshot {
  readonly schema: 1;
  /** Steps committed. */
  readonly step: number;
  /** Samples that could not be decoded, of the training and of the validation split. */
  readonly struck: readonly number[];
  readonly struckValidation?: readonly number[];
  readonly best?: { readonly step: number; readonly top1: number };
  /** Steps committed at the last evaluation. */
  readonly evaluatedAt: number;
  readonly weights: PublishedWeights;
  /** Raised at each start, so that old leases are void. */
  readonly fence: number;
}

/** What is passed in because the core may not make it: randomness and secrets. */
export interface CoreTools {
  /** 32 hex digits, unforgeable: HMAC of the text under the run's key. */
  mac(text: string): string;
  /** A fresh unguessable id, e.g. 16 hex digits. */
  freshId(): string;
}

export type { ContributionKind };
