/**
 * Socket.IO's decoder with limits, one for each connection: it sees every packet before anything is
 * parsed, so a flood costs its sender the connection and not the event loop's time.
 */

import { Decoder } from "socket.io-parser";
import type { Refusals } from "./refusals.ts";
import { openTokenBucket } from "./token-bucket.ts";

export interface PacketLimits {
  /** Characters of one message's text: the longest, a hello, has a tenth of this. */
  readonly textLength: number;
  /** Characters of text a second, and at once. */
  readonly textPerSecond: number;
  readonly textBurst: number;
  /** Packets a second, and at once; a chunk is two. */
  readonly packetsPerSecond: number;
  readonly packetBurst: number;
}

export const PACKET_DEFAULTS: PacketLimits = {
  textLength: 16_384,
  textPerSecond: 256 * 1024,
  textBurst: 1024 * 1024,
  packetsPerSecond: 2500,
  packetBurst: 5000,
};

/** A frame's chunk is one attachment; more in one message would be held in memory before any check. */
const ATTACHMENTS = 1;

/** The class that Socket.IO makes one of for each connection. An error that it throws ends the connection. */
export function limitedDecoder(
  limits: PacketLimits,
  refusals: Refusals,
  nowMs: () => number,
): typeof Decoder {
  return class extends Decoder {
    readonly #text = openTokenBucket(limits.textPerSecond, limits.textBurst);
    readonly #packets = openTokenBucket(limits.packetsPerSecond, limits.packetBurst);

    constructor() {
      super({ maxAttachments: ATTACHMENTS });
    }

    override add(packet: unknown): void {
      const length = typeof packet === "string" ? packet.length : 0;
      if (length > limits.textLength)
        this.#refuse("MALFORMED", `at most ${limits.textLength} characters, got ${length}`);
      const now = nowMs();
      if (!this.#packets.take(now) || !this.#text.take(now, length))
        this.#refuse("RATE", "packets of one connection");
      try {
        super.add(packet as string);
      } catch (error) {
        this.#refuse("MALFORMED", (error as Error).message);
      }
    }

    #refuse(code: "MALFORMED" | "RATE", detail: string): never {
      refusals.refuse(code, "a connection", detail);
      throw new Error(`${code}: ${detail}`);
    }
  };
}
