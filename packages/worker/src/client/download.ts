/**
 * Downloads by hash: weights and shards are immutable and named by their SHA-256, so whatever the
 * way they come (cache, proxy, plain http), bytes that do not match their name are never used.
 */

import { bytesOf, floatsOf } from "@swarmvit/shared/bytes";
import type { Codec } from "@swarmvit/shared/codec";
import type { ParameterTable } from "@swarmvit/shared/parameters";
import type { ShardRef } from "@swarmvit/shared/protocol";
import {
  DELTAS_KEPT,
  decodeDeltas,
  decodePublishedHalves,
  deltaBytes,
} from "@swarmvit/shared/published-weights";
import { sha256Hex } from "@swarmvit/shared/sha256";
import { decodeShard, type ShardSample } from "@swarmvit/shared/shard";
import { rest } from "./rest.ts";
import { type SharedDownload, shareDownload } from "./shared-download.ts";

/** Weights kept: those of the step at hand, of the one before, and what an evaluation asks for. */
const KEPT_WEIGHTS = 4;
/** Bytes of shards kept in memory; the browser's HTTP cache holds the rest. */
const KEPT_SHARD_BYTES = 192 * 2 ** 20;
/** Waits before the second, third… attempt. */
const RETRY_MS: readonly number[] = [300, 1_000, 3_000, 6_000];

/** Thrown where bytes could not be had: after retries, or at once where trying again is no use. */
export class DownloadError extends Error {
  override readonly name = "DownloadError";
}

export interface DownloadOptions {
  /** "https://host:port". */
  readonly origin: string;
  readonly codec: Codec;
  readonly table: ParameterTable;
  /** Waits between attempts, for tests on a fast clock. */
  readonly retryMs?: readonly number[];
  readonly keptShardBytes?: number;
}

export interface Downloads {
  /** A float32 vector by its hash. Rejects with `DownloadError`. */
  weights(sha256: string, count: number, signal?: AbortSignal): Promise<Float32Array>;
  /**
   * The parameters that gradients are taken at, as the run's codec sends them: for `int8` as deltas
   * from the ones fetched before, where the coordinator still has those. Rejects with `DownloadError`.
   */
  published(sha256: string, signal?: AbortSignal): Promise<Float32Array>;
  /** The samples of a shard. Rejects with `DownloadError`. */
  shard(ref: ShardRef, signal?: AbortSignal): Promise<readonly ShardSample[]>;
}

/** Opens the volunteer's cache of downloads from one coordinator. */
export function openDownloads(options: DownloadOptions): Downloads {
  const weights = new Map<string, SharedDownload<Float32Array>>();
  const shards = new Map<string, KeptShard>();
  const keptShardBytes = options.keptShardBytes ?? KEPT_SHARD_BYTES;
  const retryMs = options.retryMs ?? RETRY_MS;
  const get = (path: string, wanted: Wanted, signal?: AbortSignal, waits = retryMs) =>
    download(new URL(path, options.origin), wanted, waits, signal);
  const { codec, table } = options;
  /** What the next deltas start from. */
  let latest: { readonly sha256: string; readonly vector: Float32Array } | undefined;

  const whole = async (sha256: string, count: number, signal?: AbortSignal) =>
    floatsOf(await get(`/weights/${sha256}`, { sha256, lengths: [4 * count] }, signal));
  const halves = async (sha256: string, signal?: AbortSignal) => {
    const count = table.parameterCount;
    const decode = (body: Uint8Array) => bytesOf(decodePublishedHalves(body, count));
    const wanted = { sha256, lengths: [2 * count], decode };
    return floatsOf(await get(`/weights/${sha256}?codec=f16`, wanted, signal));
  };
  const byDelta = async (sha256: string, signal?: AbortSignal) => {
    if (!latest) return whole(sha256, table.parameterCount, signal);
    const { sha256: from, vector: previous } = latest;
    const lengths = Array.from({ length: DELTAS_KEPT }, (_, i) => (i + 1) * deltaBytes(table));
    const decode = (body: Uint8Array) => bytesOf(decodeDeltas(table, body, previous));
    const path = `/weights/${sha256}?from=${from}`;
    try {
      return floatsOf(await get(path, { sha256, lengths, decode }, signal, retryMs.slice(0, 1)));
    } catch (error) {
      // Too far behind, or another life of the run: then all of it.
      if (!(error instanceof DownloadError)) throw error;
      return whole(sha256, table.parameterCount, signal);
    }
  };
  const joinWeights = (
    sha256: string,
    signal: AbortSignal | undefined,
    begin: (signal: AbortSignal) => Promise<Float32Array>,
  ) => {
    const known = weights.get(sha256);
    if (known && !known.abandoned) return touch(weights, sha256, known).join(signal);
    const vector = shareDownload((shared) =>
      begin(shared).catch((error: unknown) => {
        forget(weights, sha256, vector);
        throw error;
      }),
    );
    touch(weights, sha256, vector);
    for (const oldest of weights.keys()) {
      if (weights.size <= KEPT_WEIGHTS) break;
      weights.delete(oldest);
    }
    return vector.join(signal);
  };
  const encoded = (sha256: string, signal: AbortSignal) => {
    if (codec === "int8") return byDelta(sha256, signal);
    if (codec === "f16") return halves(sha256, signal);
    return whole(sha256, table.parameterCount, signal);
  };
  const samplesOf = async (ref: ShardRef, signal: AbortSignal) => {
    const wanted = { sha256: ref.sha256, lengths: [ref.bytes] };
    const decoded = decodeShard(await get(`/shards/${ref.sha256}`, wanted, signal));
    if (decoded.length !== ref.count)
      throw new DownloadError(
        `shard ${ref.sha256.slice(0, 8)} was announced with ${ref.count} samples, it has ${decoded.length}`,
      );
    return decoded;
  };

  return {
    weights: (sha256, count, signal) =>
      joinWeights(sha256, signal, (shared) => whole(sha256, count, shared)),
    published: (sha256, signal) =>
      joinWeights(sha256, signal, async (shared) => {
        const vector = await encoded(sha256, shared);
        latest = { sha256, vector };
        return vector;
      }),
    shard(ref, signal) {
      const known = shards.get(ref.sha256);
      if (known && !known.samples.abandoned)
        return touch(shards, ref.sha256, known).samples.join(signal);
      const kept: KeptShard = {
        bytes: ref.bytes,
        samples: shareDownload((shared) =>
          samplesOf(ref, shared).catch((error: unknown) => {
            forget(shards, ref.sha256, kept);
            throw error;
          }),
        ),
      };
      touch(shards, ref.sha256, kept);
      let held = 0;
      for (const { bytes } of shards.values()) held += bytes;
      for (const [oldest, { bytes }] of shards) {
        if (held <= keptShardBytes || oldest === ref.sha256) break;
        shards.delete(oldest);
        held -= bytes;
      }
      return kept.samples.join(signal);
    },
  };
}

interface KeptShard {
  readonly bytes: number;
  readonly samples: SharedDownload<readonly ShardSample[]>;
}

/** What an answer must be: one of these lengths, and the bytes of that name once decoded. */
interface Wanted {
  readonly sha256: string;
  readonly lengths: readonly number[];
  decode?(body: Uint8Array): Uint8Array;
}

async function download(
  url: URL,
  { sha256, lengths, decode }: Wanted,
  retryMs: readonly number[],
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  let reason = "";
  for (let attempt = 0; attempt <= retryMs.length; attempt++) {
    if (attempt > 0) await rest(retryMs[attempt - 1], signal);
    try {
      // Bytes that were wrong once are not taken from a cache again.
      const cache = attempt === 0 ? "default" : "reload";
      const response = await fetch(url, { signal, cache });
      if (!response.ok) {
        await response.body?.cancel();
        reason = `HTTP ${response.status}`;
        if (response.status >= 400 && response.status < 500 && response.status !== 429)
          throw new DownloadError(`${url.pathname}: ${reason}; the coordinator has dropped it`);
        continue;
      }
      const body = new Uint8Array(await response.arrayBuffer());
      if (!lengths.includes(body.byteLength)) {
        reason = `expected ${lengths.join(" or ")} bytes, got ${body.byteLength}`;
        continue;
      }
      const named = (decode?.(body) ?? body) as Uint8Array<ArrayBuffer>;
      const got = await digest(named);
      if (got === sha256) return named;
      reason = `expected SHA-256 ${sha256.slice(0, 12)}…, got ${got.slice(0, 12)}…`;
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof DownloadError) throw error;
      reason = error instanceof Error ? error.message : String(error);
    }
  }
  throw new DownloadError(`${url.pathname} (${retryMs.length + 1} attempts): ${reason}`);
}

/** The hash in hex, by the browser where it has one: an insecure page has none and pays about 20 ms a MB. */
async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const subtle = globalThis.crypto?.subtle as SubtleCrypto | undefined;
  if (!subtle) return sha256Hex(bytes);
  const hash = new Uint8Array(await subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Moves an entry to the young end of a Map, whose first entries are forgotten first. */
function touch<V>(map: Map<string, V>, key: string, value: V): V {
  map.delete(key);
  map.set(key, value);
  return value;
}

/** A failed download is asked for anew next time. */
function forget<V>(map: Map<string, V>, key: string, entry: V): void {
  if (map.get(key) === entry) map.delete(key);
}
