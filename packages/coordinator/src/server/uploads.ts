/**
 * Frames on their way in, each in a buffer of its exact size. The sum of the buffers is bounded, so
 * strangers cannot fill the memory; an upload goes on after a reconnect where it stopped.
 */

import type { RefusalCode } from "@swarmvit/shared/frame";
import { CHUNK_WINDOW, type Credit } from "@swarmvit/shared/protocol";

export interface Uploads {
  readonly bytesInFlight: number;
  /** Begins an upload, or says how far the one that began before has come; undefined: no room now. */
  offer(lease: number, bytes: number): Credit | undefined;
  /** Takes one chunk. The frame's memory is allocated with the first one, whose header was checked. */
  chunk(lease: number, offset: number, bytes: Uint8Array): Taken | Untaken;
  /** The whole frame, out of the budget from now on; undefined where it is not complete. */
  take(lease: number): Uint8Array | undefined;
  drop(lease: number): void;
  /** Takes the memory of a frame that is used up, for one of the same size. */
  recycle(frame: Uint8Array): void;
}

export interface Taken {
  readonly credit: Credit;
  /** False for a chunk sent twice, or behind one that was lost: the credit says where to go on. */
  readonly fresh: boolean;
  /** True once: with the chunk that fills the frame. */
  readonly complete: boolean;
  /** Milliseconds since the offer, of a frame that is complete and came in one go. */
  readonly tookMs?: number;
}

export interface Untaken {
  readonly credit?: undefined;
  readonly code: RefusalCode;
  readonly detail: string;
}

interface Upload {
  readonly bytes: number;
  frame?: Uint8Array;
  received: number;
  /** When it was offered; not known of one that went on after a break. */
  offeredAt?: number;
}

/** Opens the uploads with a budget for all buffers together; `now` in milliseconds. */
export function openUploads(budgetBytes: number, now = () => performance.now()): Uploads {
  const uploads = new Map<number, Upload>();
  /** Fresh memory costs the event loop more than the copy into it. */
  let spare: Uint8Array[] = [];
  let bytesInFlight = 0;
  const memoryOf = (bytes: number): Uint8Array => {
    if (spare.at(-1)?.byteLength !== bytes) return new Uint8Array(bytes);
    return spare.pop() as Uint8Array;
  };
  const drop = (lease: number) => {
    const upload = uploads.get(lease);
    if (!upload) return;
    uploads.delete(lease);
    bytesInFlight -= upload.bytes;
  };
  const creditOf = ({ bytes, received }: Upload): Credit => ({
    ok: true,
    offset: received,
    credits: received === bytes ? 0 : CHUNK_WINDOW,
  });

  return {
    get bytesInFlight() {
      return bytesInFlight;
    },

    offer(lease, bytes) {
      const begun = uploads.get(lease);
      if (begun) {
        if (begun.received > 0) begun.offeredAt = undefined;
        return creditOf(begun);
      }
      if (bytesInFlight + bytes > budgetBytes) return undefined;
      bytesInFlight += bytes;
      const upload = { bytes, received: 0, offeredAt: now() };
      uploads.set(lease, upload);
      return creditOf(upload);
    },

    chunk(lease, offset, bytes) {
      const upload = uploads.get(lease);
      if (!upload) return { code: "LEASE", detail: "no upload of this lease has begun" };
      if (offset !== upload.received)
        return { credit: creditOf(upload), fresh: false, complete: false };
      const room = upload.bytes - offset;
      if (bytes.byteLength === 0 || bytes.byteLength > room)
        return {
          code: "SIZE",
          detail: `a chunk of 1 to ${room} bytes was expected, got ${bytes.byteLength}`,
        };
      upload.frame ??= memoryOf(upload.bytes);
      upload.frame.set(bytes, offset);
      upload.received += bytes.byteLength;
      const complete = upload.received === upload.bytes;
      const { offeredAt } = upload;
      const tookMs = complete && offeredAt !== undefined ? now() - offeredAt : undefined;
      return { credit: creditOf(upload), fresh: true, complete, tookMs };
    },

    take(lease) {
      const upload = uploads.get(lease);
      if (!upload?.frame || upload.received < upload.bytes) return undefined;
      drop(lease);
      return upload.frame;
    },

    drop,

    recycle(frame) {
      if (spare[0]?.byteLength !== frame.byteLength) spare = []; // all gradients of a run are of one size
      if ((spare.length + 1) * frame.byteLength <= budgetBytes / 2) spare.push(frame);
    },
  };
}
