/**
 * How much of a frame is sent at once on a link: what is under way takes about two seconds there, so
 * that a heartbeat's answer, which queues behind it, comes in time however slow the uplink is.
 */

import { CHUNK_BYTES, CHUNK_WINDOW } from "@swarmvit/shared/protocol";

export interface UploadPace {
  /** Bytes of the next chunk, at most. */
  readonly chunkBytes: number;
  /** Chunks that may be under way. */
  readonly window: number;
  /** A chunk was answered `ms` after it was sent, when so many bytes, its own too, were under way. */
  answered(bytes: number, ms: number): void;
  /** The link is another one: nothing is known of it. */
  reset(): void;
}

/** What is under way is a window of these. */
const CHUNK_MS = 500;
/** The first one, alone, shows how fast the link is: 8 s at 64 kbit/s. */
const FIRST_BYTES = 64 * 1024;
const LEAST_BYTES = 4 * 1024;
const NEW_SHARE = 0.5;

/** Opens the pace of a link that nothing is known of. */
export function openUploadPace(): UploadPace {
  let bytesPerMs: number | undefined;
  return {
    get chunkBytes() {
      if (bytesPerMs === undefined) return FIRST_BYTES;
      return Math.min(CHUNK_BYTES, Math.max(LEAST_BYTES, Math.floor(bytesPerMs * CHUNK_MS)));
    },
    get window() {
      return bytesPerMs === undefined ? 1 : CHUNK_WINDOW;
    },
    answered(bytes, ms) {
      const now = bytes / Math.max(1, ms);
      bytesPerMs = bytesPerMs === undefined ? now : bytesPerMs + NEW_SHARE * (now - bytesPerMs);
    },
    reset() {
      bytesPerMs = undefined;
    },
  };
}
