/** Who may open a socket at all: origin, sockets in all and by address, connections a minute. */

import type { IncomingMessage } from "node:http";
import { openTokenBucket, type TokenBucket } from "./token-bucket.ts";

export interface AdmissionLimits {
  /** Sockets open at once, in all. */
  readonly sockets: number;
  /** Sockets open at once from one address: a classroom shares one. */
  readonly socketsPerAddress: number;
  /** New sockets from one address: at once, and then a second. */
  readonly connectBurst: number;
  readonly connectsPerSecond: number;
}

export const ADMISSION_DEFAULTS: AdmissionLimits = {
  sockets: 4000,
  socketsPerAddress: 64,
  connectBurst: 64,
  connectsPerSecond: 1,
};

export interface Admission {
  /** Undefined, or why this connection is refused. */
  refusalOf(request: IncomingMessage, nowMs: number): string | undefined;
  opened(address: string): void;
  closed(address: string): void;
}

const REMEMBERED_ADDRESSES = 10_000;

/** Opens the gate. Connections from this machine itself are not counted by address. */
export function openAdmission(limits: AdmissionLimits): Admission {
  const open = new Map<string, number>();
  const buckets = new Map<string, TokenBucket>();
  let total = 0;
  const bucketOf = (address: string) => {
    let bucket = buckets.get(address);
    if (!bucket) {
      // Forgetting all at once costs strangers one more burst, and keeps the memory bounded.
      if (buckets.size >= REMEMBERED_ADDRESSES) buckets.clear();
      bucket = openTokenBucket(limits.connectsPerSecond, limits.connectBurst);
      buckets.set(address, bucket);
    }
    return bucket;
  };

  return {
    refusalOf(request, nowMs) {
      if (!isSameOrigin(request)) return "another site may not open sockets here";
      if (total >= limits.sockets) return "too many sockets are open";
      const address = networkOf(request.socket.remoteAddress ?? "");
      if (isLoopback(address)) return undefined;
      if ((open.get(address) ?? 0) >= limits.socketsPerAddress)
        return "too many sockets are open from this address";
      if (!bucketOf(address).take(nowMs)) return "too many connections from this address";
      return undefined;
    },
    opened(address) {
      total++;
      const network = networkOf(address);
      open.set(network, (open.get(network) ?? 0) + 1);
    },
    closed(address) {
      total--;
      const network = networkOf(address);
      const left = (open.get(network) ?? 1) - 1;
      if (left > 0) open.set(network, left);
      else open.delete(network);
    },
  };
}

/** WebSockets know no CORS: a page of another origin is stopped here. Programs send no Origin. */
function isSameOrigin({ headers: { origin, host } }: IncomingMessage): boolean {
  if (origin === undefined) return true;
  try {
    return new URL(origin).host === host;
  } catch {
    return false;
  }
}

/** An IPv4 address, or an IPv6 one's /64: one household or host has a whole one. */
function networkOf(address: string): string {
  const v4 = address.replace(/^::ffff:/, "");
  if (v4.includes(".")) return v4;
  const [head, tail] = address.split("::");
  const groups = head.split(":").filter(Boolean);
  if (tail === undefined || groups.length >= 4) return groups.slice(0, 4).join(":");
  return address === "::1" ? address : groups.join(":");
}

function isLoopback(network: string): boolean {
  return network === "::1" || network.startsWith("127.");
}
