/** One direction of a volunteer's line: a bandwidth that transfers share in turn, and a latency. */

import type { Clock } from "./clock.ts";

export interface LinkSpeed {
  readonly upBytesPerMs: number;
  readonly downBytesPerMs: number;
  /** One way. */
  readonly latencyMs: number;
}

/** Bytes a millisecond of a line of so many megabits a second. */
export function megabits(perSecond: number): number {
  return (perSecond * 1e6) / 8 / 1000;
}

export interface Pipe {
  /** Sends bytes behind what is being sent; returns after how long the last one arrives. */
  send(bytes: number): number;
}

export function openPipe(clock: Clock, bytesPerMs: number, latencyMs: number): Pipe {
  let freeAt = 0;
  return {
    send(bytes) {
      freeAt = Math.max(freeAt, clock.now) + bytes / bytesPerMs;
      return freeAt - clock.now + latencyMs;
    },
  };
}
