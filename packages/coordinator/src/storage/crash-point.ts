/**
 * Named places of the commit path at which a test may kill the process, as a power cut would:
 * `SWARMVIT_CRASH_AT=log-written:3` ends it with SIGKILL when it comes by the third time. Without
 * the variable a place costs one comparison.
 */

/** In the order in which a step comes by them; a checkpoint and a restart have their own. */
export const CRASH_POINTS = [
  "log-begun", // a new file of the log is there, empty
  "log-torn", // the head of a record is written, its body is not
  "log-written", // a record is written and not synced
  "step-applied", // the weights have changed in memory
  "log-synced", // the step will never be lost from here on
  "step-served", // its weights can be fetched, and nobody was told
  "line-written", // metrics.jsonl has it
  "step-told", // leases that name the new weights are out
  "file-written", // any file that is written whole, under its temporary name
  "checkpoint-renamed", // the manifest does not name it
  "manifest-renamed", // older checkpoints are still there
  "checkpoint-pruned", // the log still holds what it covers
  "log-pruned",
  "fence-raised",
  "log-replayed",
] as const;

export type CrashPoint = (typeof CRASH_POINTS)[number];

const [wanted, count] = (process.env.SWARMVIT_CRASH_AT ?? "").split(":");
let left = Number(count ?? 1);

/** Ends the process here if a test asked for that. */
export function crashPoint(point: CrashPoint): void {
  if (point !== wanted || --left > 0) return;
  process.kill(process.pid, "SIGKILL");
  for (;;); // the signal ends every thread; nothing more happens on this one
}
