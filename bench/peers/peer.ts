/**
 * What is measured side by side: anything that computes the loss and all gradients of one unit
 * again and again. A peer is started once for a size and then asked for rounds, so that rounds of
 * several peers can be interleaved and a busy machine disturbs all of them alike.
 */

import type { Profile } from "@swarmvit/worker/bench/profile";
import type { Rounds, UnitSize } from "@swarmvit/worker/bench/unit";

export interface Peer {
  readonly name: string;
  /** The `tfjs` executor on the same device, by name: what it is compared with. */
  readonly tfjs?: string;
  /**
   * Loads, compiles and computes the first unit. Throws `PeerMissing` where the peer is not
   * installed or cannot compute this unit.
   */
  start(unit: UnitSize): Promise<RunningPeer>;
}

export interface RunningPeer extends Rounds {
  /** Where a unit's time goes, by kind of operation; own executors only. */
  profile?(): Promise<Profile>;
  /** Memory of the process that computes, where it is one of its own. */
  memory?(): Promise<ProcessMemory>;
}

/** Bytes that a process holds by what the system counts. */
export interface ProcessMemory {
  /** Before the executor was opened. */
  readonly before: number;
  /** At most, so far. */
  readonly most: number;
}

/** The peer cannot be had here; the message says what to install or set. */
export class PeerMissing extends Error {}
