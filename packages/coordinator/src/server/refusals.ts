/** The ledger of refusals: each is counted under its code, logged at a bounded rate, and put in words. */

import type { Refusal } from "@swarmvit/shared/protocol";
import { type AnyRefusal, REFUSALS, refusalOf } from "@swarmvit/shared/refusals";
import { openTokenBucket, type TokenBucket } from "./token-bucket.ts";

export interface Refusals {
  /**
   * Counts and logs that `who` ("volunteer 12ab", "an address") was refused; gives what to tell it.
   * `detail` is what was expected and what came; it may hold a stranger's words, but no secret.
   */
  refuse(code: AnyRefusal, who: string, detail?: string): Refusal;
  /** Refusals so far; every code is there. */
  readonly counts: ReadonlyMap<AnyRefusal, number>;
}

/** Lines of one code: so many at once, then one every half minute that says how many were left out. */
const LINES = 3;
const LINES_PER_SECOND = 1 / 30;
const LONGEST_DETAIL = 200;

/** Opens an empty ledger. */
export function openRefusals({
  nowMs,
  log,
}: {
  nowMs(): number;
  log(line: string): void;
}): Refusals {
  const counts = new Map<AnyRefusal, number>();
  for (const code of Object.keys(REFUSALS)) counts.set(code as AnyRefusal, 0);
  const lines = new Map<AnyRefusal, { readonly bucket: TokenBucket; leftOut: number }>();

  const write = (code: AnyRefusal, who: string, detail: string | undefined) => {
    let line = lines.get(code);
    if (!line) {
      line = { bucket: openTokenBucket(LINES_PER_SECOND, LINES), leftOut: 0 };
      lines.set(code, line);
    }
    if (!line.bucket.take(nowMs())) {
      line.leftOut++;
      return;
    }
    const more = line.leftOut > 0 ? `; ${line.leftOut} more of these were not logged` : "";
    line.leftOut = 0;
    const what = detail ? ` (${detail})` : "";
    log(`refused ${code}: ${clean(who)} ${REFUSALS[code].did}${what}${more}`);
  };

  return {
    counts,
    refuse(code, who, detail) {
      const known = detail === undefined ? undefined : clean(detail);
      counts.set(code, (counts.get(code) ?? 0) + 1);
      write(code, who, known);
      return refusalOf(code, known);
    },
  };
}

/** A stranger's text must not end a line of the log, or move the cursor of who reads it. */
function clean(text: string): string {
  return text.replace(/\p{C}/gu, " ").slice(0, LONGEST_DETAIL);
}
