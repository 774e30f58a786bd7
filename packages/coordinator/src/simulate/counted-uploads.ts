/** Uploads of which only the bytes are counted: for simulations whose frames are never made. */

import type { Credit } from "@swarmvit/shared/protocol";
import type { Uploads } from "../server/uploads.ts";

const NO_BYTES = new Uint8Array(0);

/** Opens uploads in one chunk each, without memory and without a limit; `now` in milliseconds. */
export function openCountedUploads(now: () => number): Uploads {
  const uploads = new Map<
    number,
    { readonly bytes: number; readonly offeredAt: number; whole: boolean }
  >();
  let bytesInFlight = 0;
  const drop = (lease: number) => {
    bytesInFlight -= uploads.get(lease)?.bytes ?? 0;
    uploads.delete(lease);
  };
  const credit = (offset: number): Credit => ({ ok: true, offset, credits: 1 });
  return {
    get bytesInFlight() {
      return bytesInFlight;
    },
    offer(lease, bytes) {
      if (!uploads.has(lease)) {
        uploads.set(lease, { bytes, offeredAt: now(), whole: false });
        bytesInFlight += bytes;
      }
      return credit(0);
    },
    chunk(lease) {
      const upload = uploads.get(lease);
      const complete = upload !== undefined && !upload.whole;
      if (upload) upload.whole = true;
      const tookMs = upload && now() - upload.offeredAt;
      return { credit: credit(upload?.bytes ?? 0), fresh: complete, complete, tookMs };
    },
    take(lease) {
      if (!uploads.get(lease)?.whole) return undefined;
      drop(lease);
      return NO_BYTES;
    },
    drop,
    recycle() {},
  };
}
