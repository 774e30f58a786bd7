/**
 * What is measured side by side: anything that computes the loss and all gradients of one unit
 * again and again. A peer is started once for a size and then asked for rounds, so that rounds of
 * several peers can be interleaved and a busy machine disturbs all of them alike.
 */

import type { VariantName } from "@swarmvit/shared/variants";

/** One unit, with 1,000 classes. */
export interface UnitSize {
  readonly variant: VariantName;
  readonly size: number;
  readonly batch: number;
}

export interface Peer {
  readonly name: string;
  /**
   * Loads, compiles and computes the first unit. Throws `PeerMissing` where the peer is not
   * installed or cannot compute this unit.
   */
  start(unit: UnitSize): Promise<RunningPeer>;
}

export interface RunningPeer {
  /** What computes, in words. */
  readonly description: string;
  /** Milliseconds of the first unit, with everything that happens only once. */
  readonly firstMs: number;
  /** Milliseconds of one more unit. */
  round(): Promise<number>;
  close(): Promise<void>;
}

/** The peer cannot be had here; the message says what to install or set. */
export class PeerMissing extends Error {}

/** Classes of the head, for every peer. */
export const CLASSES = 1000;
