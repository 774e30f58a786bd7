/**
 * Frames on their way in, each in a buffer of its exact size. The sum of the buffers is bounded, so
 * strangers cannot fill the memory; an upload goes on after a reconnect where it stopped.
 */

import { CHUNK_WINDOW, type Credit, type Refusal } from "@swarmvit/shared/protocol";

export interface Uploads {
  readonly bytesInFlight: number;
  /** Begins an upload, or says how far the one that began before has come. */
  offer(lease: number, bytes: number): Credit | Refusal;
  /** Takes one chunk. `complete` is true once: with the chunk that fills the frame. */
  chunk(
    lease: number,
    offset: number,
    bytes: Uint8Array,
  ): { readonly answer: Credit | Refusal; readonly complete: boolean };
  /** The whole frame, out of the budget from now on; undefined where it is not complete. */
  take(lease: number): Uint8Array | undefined;
  drop(lease: number): void;
}

/** Opens the uploads with a budget for all buffers together. */
export function openUploads(budgetBytes: number): Uploads {
  const uploads = new Map<number, { readonly frame: Uint8Array; received: number }>();
  let bytesInFlight = 0;
  const drop = (lease: number) => {
    const upload = uploads.get(lease);
    if (!upload) return;
    uploads.delete(lease);
    bytesInFlight -= upload.frame.byteLength;
  };
  const creditOf = ({ frame, received }: { frame: Uint8Array; received: number }): Credit => ({
    ok: true,
    offset: received,
    credits: received === frame.byteLength ? 0 : CHUNK_WINDOW,
  });

  return {
    get bytesInFlight() {
      return bytesInFlight;
    },

    offer(lease, bytes) {
      const begun = uploads.get(lease);
      if (begun) return creditOf(begun);
      if (bytesInFlight + bytes > budgetBytes)
        return {
          ok: false,
          code: "BUSY",
          message: "The coordinator is receiving as much as it can: offer again in a second.",
        };
      bytesInFlight += bytes;
      const upload = { frame: new Uint8Array(bytes), received: 0 };
      uploads.set(lease, upload);
      return creditOf(upload);
    },

    chunk(lease, offset, bytes) {
      const upload = uploads.get(lease);
      if (!upload)
        return {
          answer: { ok: false, code: "LEASE", message: "No upload of this lease has begun." },
          complete: false,
        };
      // A chunk sent twice, or behind one that was lost: the credit says where to go on.
      if (offset !== upload.received) return { answer: creditOf(upload), complete: false };
      if (bytes.byteLength === 0 || bytes.byteLength > upload.frame.byteLength - offset)
        return {
          answer: {
            ok: false,
            code: "SIZE",
            message: `A chunk of 1 to ${upload.frame.byteLength - offset} bytes was expected (got ${bytes.byteLength}).`,
          },
          complete: false,
        };
      upload.frame.set(bytes, offset);
      upload.received += bytes.byteLength;
      return {
        answer: creditOf(upload),
        complete: upload.received === upload.frame.byteLength,
      };
    },

    take(lease) {
      const upload = uploads.get(lease);
      if (!upload || upload.received < upload.frame.byteLength) return undefined;
      drop(lease);
      return upload.frame;
    },

    drop,
  };
}
