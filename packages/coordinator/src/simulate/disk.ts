/** The coordinator's disk in a simulation: its log and its newest checkpoints. */

import type { CoreSnapshot } from "../core/messages.ts";
import type { VectorState } from "../vectors/vector-state.ts";

/** What a restart finds. */
export interface Stored {
  readonly core?: CoreSnapshot;
  readonly state: VectorState;
}

/** Storage that outlives the coordinator. What was being written when it ended is lost. */
export interface SimulatedDisk {
  isFull(): boolean;
  append(core: CoreSnapshot, state: VectorState): void;
  checkpoint(core: CoreSnapshot, state: VectorState): void;
  newest(): Stored;
  /** The newest checkpoint older than this many steps, and from now on the newest of all. */
  before(step: number): Stored;
}

const KEPT_CHECKPOINTS = 3;

/** Opens a disk that holds the state before any step. */
export function openDisk(first: Stored, isFull: () => boolean): SimulatedDisk {
  const checkpoints: Stored[] = [];
  let newest = first;
  return {
    isFull,
    append(core, state) {
      newest = { core, state };
    },
    checkpoint(core, state) {
      checkpoints.push({ core, state });
      if (checkpoints.length > KEPT_CHECKPOINTS) checkpoints.shift();
    },
    newest: () => newest,
    before(step) {
      // What is newer is given up for good.
      while (checkpoints.length > 0 && (checkpoints.at(-1)?.core?.step ?? 0) >= step)
        checkpoints.pop();
      newest = checkpoints.at(-1) ?? first;
      return newest;
    },
  };
}
