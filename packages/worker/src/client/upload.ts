/**
 * Sends one frame in chunks: offer, then as many chunks in flight as the coordinator's credits allow,
 * each small enough that heartbeats pass between them. A new call goes on from the acknowledged offset.
 */

import type { Chunk, Credit, Offer, Refusal } from "@swarmvit/shared/protocol";
import { rest } from "./rest.ts";
import type { UploadPace } from "./upload-pace.ts";

/** How long an offer that found no room waits before it is made again. */
const BUSY_MS = 300;

/** The two messages of an upload, each answered by the coordinator; they reject when the link is lost. */
export interface UploadLink {
  readonly pace: UploadPace;
  offer(offer: Offer): Promise<Credit | Refusal>;
  chunk(chunk: Chunk, bytes: Uint8Array): Promise<Credit | Refusal>;
}

/** Thrown where the coordinator does not want the frame, with its reason. */
export class UploadRefused extends Error {
  override readonly name = "UploadRefused";
  readonly refusal: Refusal;
  constructor(refusal: Refusal) {
    super(`${refusal.code}: ${refusal.message}`);
    this.refusal = refusal;
  }
}

/**
 * Resolves when the coordinator has every byte of the frame. Rejects with `UploadRefused`, with the
 * link's error when it is lost (call again after the reconnect), or with the signal's reason.
 */
export async function uploadFrame(
  link: UploadLink,
  lease: number,
  frame: Uint8Array,
  signal: AbortSignal,
  onOffset: (acknowledged: number) => void = () => {},
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const credit = await link.offer({ lease, bytes: frame.byteLength });
    if (credit.ok) {
      onOffset(credit.offset);
      if (credit.offset >= frame.byteLength) return;
      const whole = await sendFrom(link, lease, frame, credit, signal, onOffset);
      if (whole) return;
    } else if (credit.code !== "BUSY") throw new UploadRefused(credit);
    await rest(BUSY_MS, signal);
  }
}

/** Sends chunks from a credit on; false when the coordinator ran out of room on the way. */
function sendFrom(
  link: UploadLink,
  lease: number,
  frame: Uint8Array,
  start: Credit,
  signal: AbortSignal,
  onOffset: (acknowledged: number) => void,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let next = start.offset;
    let acknowledged = start.offset;
    let window = start.credits;
    let inFlight = 0;
    let underWay = 0;
    let over = false;
    const settle = (act: () => void) => {
      if (over) return;
      over = true;
      signal.removeEventListener("abort", aborted);
      act();
    };
    const aborted = () => settle(() => reject(signal.reason));
    signal.addEventListener("abort", aborted);

    const answered = (answer: Credit | Refusal, bytes: number, end: number) => {
      inFlight--;
      underWay -= bytes;
      if (over) return;
      if (!answer.ok) {
        if (answer.code === "BUSY") settle(() => resolve(false));
        else settle(() => reject(new UploadRefused(answer)));
        return;
      }
      // It did not take this chunk, so it will take none behind it: ask where to go on.
      if (answer.offset < end) {
        settle(() => resolve(false));
        return;
      }
      acknowledged = Math.max(acknowledged, answer.offset);
      window = answer.credits;
      onOffset(acknowledged);
      if (acknowledged >= frame.byteLength) settle(() => resolve(true));
      else pump();
    };
    const { pace } = link;
    const pump = () => {
      while (!over && next < frame.byteLength && inFlight < Math.min(window, pace.window)) {
        const offset = next;
        const bytes = frame.subarray(offset, Math.min(offset + pace.chunkBytes, frame.byteLength));
        next += bytes.byteLength;
        inFlight++;
        underWay += bytes.byteLength;
        const end = next;
        const [before, sentAt] = [underWay, performance.now()];
        link.chunk({ lease, offset }, bytes).then(
          (answer) => {
            pace.answered(before, performance.now() - sentAt);
            answered(answer, bytes.byteLength, end);
          },
          (error: unknown) => settle(() => reject(error)),
        );
      }
      // Nothing in flight means that no answer will come to give credit: ask again.
      if (inFlight === 0) settle(() => resolve(false));
    };
    pump();
  });
}
