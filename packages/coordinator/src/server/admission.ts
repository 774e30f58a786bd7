/**
 * What one address may use up: sockets, connections, joins, requests, bytes. A classroom shares one
 * address, so the limits are those of thirty devices that all come back at once, and then some.
 */

import type { IncomingMessage } from "node:http";
import type { AnyRefusal } from "@swarmvit/shared/refusals";
import { type AddressedRequest, clientAddress } from "./client-address.ts";
import { openTokenBucket, type TokenBucket } from "./token-bucket.ts";

export interface AdmissionLimits {
  /** Sockets open at once, in all. */
  readonly sockets: number;
  /** Sockets open at once from one address. */
  readonly socketsPerAddress: number;
  /** Of one address: so many at once, and then so many a second. */
  readonly connectBurst: number;
  readonly connectsPerSecond: number;
  readonly joinBurst: number;
  readonly joinsPerSecond: number;
  readonly requestBurst: number;
  readonly requestsPerSecond: number;
  /** Bytes downloaded: a full gigabit line. */
  readonly downloadBurst: number;
  readonly downloadPerSecond: number;
  /** Bytes uploaded that no lease had asked for: the rest of what was revoked on its way. */
  readonly wasteBurst: number;
  readonly wastePerSecond: number;
  /** Proxies in front that write `X-Forwarded-For`; 0 believes no such header. */
  readonly trustProxy: number;
}

const MiB = 2 ** 20;

export const ADMISSION_DEFAULTS: AdmissionLimits = {
  sockets: 4000,
  socketsPerAddress: 96,
  connectBurst: 128,
  connectsPerSecond: 4,
  joinBurst: 128,
  joinsPerSecond: 2,
  requestBurst: 3000,
  requestsPerSecond: 300,
  downloadBurst: 4096 * MiB,
  downloadPerSecond: 125 * MiB,
  wasteBurst: 256 * MiB,
  wastePerSecond: 8 * MiB,
  trustProxy: 0,
};

/** What an address uses that has a rate. */
export type Use = "connect" | "join" | "request" | "download" | "waste";

/** One address. */
export interface Account {
  readonly network: string;
  /** True, or false where it has had enough for now. This machine itself may always. */
  take(use: Use, nowMs: number, amount?: number): boolean;
}

export interface Admission {
  accountOf(request: AddressedRequest): Account;
  /** Undefined, or why this socket is refused; takes one connection of its address' rate. */
  refusalOf(request: IncomingMessage, nowMs: number): AnyRefusal | undefined;
  /** Counts a socket; gives what uncounts it, to be called once. */
  opened(request: AddressedRequest): () => void;
  /** Why a socket would be refused now for the number of those that are open; takes nothing. */
  overfull(request: AddressedRequest): AnyRefusal | undefined;
  readonly sockets: number;
}

interface Entry extends Account {
  sockets: number;
  usedAt: number;
}

const REMEMBERED_ADDRESSES = 10_000;

/** Opens the gate. */
export function openAdmission(limits: AdmissionLimits, log: (line: string) => void): Admission {
  const entries = new Map<string, Entry>();
  let total = 0;
  let toldOfProxy = limits.trustProxy > 0;
  const tellOfProxy = (request: AddressedRequest) => {
    if (toldOfProxy || request.headers["x-forwarded-for"] === undefined) return;
    toldOfProxy = true;
    log(
      "requests come through a proxy, so all of them count as one address: --trust-proxy 1 tells them apart",
    );
  };

  const accountOf = (request: AddressedRequest): Entry => {
    tellOfProxy(request);
    const { network, isLocal } = clientAddress(request, limits.trustProxy);
    const key = isLocal ? "this machine" : network;
    const known = entries.get(key);
    if (known) return known;
    if (entries.size >= REMEMBERED_ADDRESSES) forgetIdle(entries);
    const entry = openEntry(limits, key, isLocal);
    entries.set(key, entry);
    return entry;
  };
  const refusalOfCounts = (entry: Entry): AnyRefusal | undefined => {
    if (total >= limits.sockets) return "FULL";
    const isLocal = entry.network === "this machine";
    return !isLocal && entry.sockets >= limits.socketsPerAddress ? "ADDRESS" : undefined;
  };

  return {
    get sockets() {
      return total;
    },
    accountOf,
    refusalOf(request, nowMs) {
      if (!isSameOrigin(request, limits.trustProxy > 0)) return "ORIGIN";
      const entry = accountOf(request);
      return refusalOfCounts(entry) ?? (entry.take("connect", nowMs) ? undefined : "RATE");
    },
    opened(request) {
      const entry = accountOf(request);
      total++;
      entry.sockets++;
      return () => {
        total--;
        entry.sockets--;
      };
    },
    overfull: (request) => refusalOfCounts(accountOf(request)),
  };
}

function openEntry(limits: AdmissionLimits, network: string, isLocal: boolean): Entry {
  const buckets: Readonly<Record<Use, TokenBucket>> = {
    connect: openTokenBucket(limits.connectsPerSecond, limits.connectBurst),
    join: openTokenBucket(limits.joinsPerSecond, limits.joinBurst),
    request: openTokenBucket(limits.requestsPerSecond, limits.requestBurst),
    download: openTokenBucket(limits.downloadPerSecond, limits.downloadBurst),
    waste: openTokenBucket(limits.wastePerSecond, limits.wasteBurst),
  };
  const entry: Entry = {
    network,
    sockets: 0,
    usedAt: 0,
    take(use, nowMs, amount = 1) {
      entry.usedAt = nowMs;
      return isLocal || buckets[use].take(nowMs, amount);
    },
  };
  return entry;
}

/** The half that was idle longest; who holds a socket stays, or its count would be lost. */
function forgetIdle(entries: Map<string, Entry>): void {
  const idle = [...entries].filter(([, { sockets }]) => sockets === 0);
  idle.sort(([, a], [, b]) => a.usedAt - b.usedAt);
  for (const [key] of idle.slice(0, REMEMBERED_ADDRESSES / 2)) entries.delete(key);
}

/** WebSockets know no CORS: a page of another origin is stopped here. Programs send no Origin. */
function isSameOrigin({ headers }: IncomingMessage, behindProxy: boolean): boolean {
  if (headers.origin === undefined) return true;
  const forwarded = behindProxy ? headers["x-forwarded-host"] : undefined;
  try {
    return new URL(headers.origin).host === (forwarded ?? headers.host);
  } catch {
    return false;
  }
}
