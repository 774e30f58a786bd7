/**
 * Every reason for which the coordinator refuses something, in words for the person at the device:
 * what it did, and what to do about it (DESIGN section 5, refusal). Codes are counted by `/metrics`.
 */

import type { RefusalCode } from "./frame.ts";
import type { ConnectionRefusal, JoinRefusal, Refusal } from "./protocol.ts";

export type AnyRefusal = RefusalCode | JoinRefusal | ConnectionRefusal;

interface Words {
  /** Continues "This device …". */
  readonly did: string;
  readonly advice: string;
}

const UPDATE = "Reload the page, or update this program.";
const NOTHING = "Nothing needs to be done: it gets other work.";
const DRIVER = "Update the graphics driver and the browser, or try again with ?backend=wasm.";
const WAIT = "It tries again by itself after a while.";

export const REFUSALS: Readonly<Record<AnyRefusal, Words>> = {
  MALFORMED: { did: "sent a message that is not understood", advice: UPDATE },
  VERSION: { did: "sent a frame of another version", advice: UPDATE },
  CODEC: { did: "sent a frame in another encoding than was leased", advice: UPDATE },
  KIND: { did: "sent another kind of frame than was leased", advice: UPDATE },
  RUN: { did: "sent a frame of another run", advice: UPDATE },
  STEP: { did: "sent a frame of another step than was leased", advice: UPDATE },
  NODE: { did: "sent a frame of another node than was leased", advice: UPDATE },
  SAMPLES: { did: "sent a frame of other samples than were leased", advice: UPDATE },
  LEASE: { did: "answered a lease that has ended or is not its own", advice: NOTHING },
  TOKEN: { did: "sent a frame without its lease's token", advice: UPDATE },
  SIZE: { did: "sent another number of bytes than was leased", advice: UPDATE },
  CHECKSUM: {
    did: "sent a frame that was damaged on the way",
    advice: "A proxy or a virus scanner that alters data does this; other networks may not.",
  },
  COUNTS: { did: "reported counts that cannot be", advice: UPDATE },
  NON_FINITE: { did: "computed numbers that are not finite", advice: DRIVER },
  ZERO: { did: "computed zeros where none can be", advice: DRIVER },
  EXPIRED: { did: "answered a lease that has ended", advice: NOTHING },
  DUPLICATE: { did: "sent what somebody else had sent before", advice: NOTHING },
  STALE: { did: "answered a lease of a step that is over", advice: NOTHING },
  BUSY: { did: "came while the coordinator receives as much as it can", advice: WAIT },
  PROTOCOL: { did: "speaks another version of the protocol", advice: UPDATE },
  BUILD: { did: "has a page of another build than the coordinator's", advice: "Reload the page." },
  JOIN_TOKEN: {
    did: "came with a link that is not valid for this run",
    advice: "Ask the host for a new link, and open all of it: the part after # matters.",
  },
  FULL: { did: "came when there was no room for more", advice: WAIT },
  RATE: { did: "came or asked too often", advice: WAIT },
  FINISHED: { did: "came after the run was over", advice: "Thank you all the same." },
  REMOVED: {
    did: "sent contributions that were not what was leased, again and again",
    advice: UPDATE,
  },
  ORIGIN: {
    did: "came from another site's page",
    advice: "Open the coordinator's own link; a proxy must pass the Host header on.",
  },
  ADDRESS: { did: "came from an address that has too many connections open", advice: WAIT },
  BYTES: { did: "moved more bytes than its address may", advice: WAIT },
  SILENT: { did: "opened a socket and did not say hello", advice: "Reload the page." },
  UNREAD: {
    did: "did not read what it was sent",
    advice: "Its network may be too slow or gone; it comes back by itself.",
  },
  HOST_TOKEN: {
    did: "asked for what only the host may do",
    advice: "Use the host's link: the part after # matters.",
  },
};

/** The answer to whoever is refused; `detail` is what was expected and what came. */
export function refusalOf(code: AnyRefusal, detail?: string): Refusal {
  return { ok: false, code, message: refusalText(code, detail) };
}

/** One or two sentences: what the device did, in numbers where there are any, and what to do. */
export function refusalText(code: AnyRefusal, detail?: string): string {
  const { did, advice } = REFUSALS[code];
  return `This device ${did}${detail ? ` (${detail})` : ""}. ${advice}`;
}
