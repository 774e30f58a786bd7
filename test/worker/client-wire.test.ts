/** Uploads in chunks and downloads by hash, against a coordinator of a few lines on a real port. */

import { bytesOf } from "@swarmvit/shared/bytes";
import { parameterTable } from "@swarmvit/shared/parameters";
import { CHUNK_BYTES, type Lease, type Refusal } from "@swarmvit/shared/protocol";
import { encodeShard } from "@swarmvit/shared/shard";
import { type Connection, OfflineError, openConnection } from "@swarmvit/worker/client/connection";
import { DownloadError, openDownloads } from "@swarmvit/worker/client/download";
import { UploadRefused, uploadFrame } from "@swarmvit/worker/client/upload";
import { afterEach, describe, expect, test } from "vitest";
import { type FakeCoordinator, openFakeCoordinator } from "../support/fake-coordinator.ts";

let coordinator: FakeCoordinator;
let connection: Connection | undefined;

afterEach(async () => {
  await connection?.close();
  connection = undefined;
  await coordinator.close();
});

/** Resolves at the next connection of a new volunteer's socket. */
function connect(onConnected: () => void = () => {}): Promise<Connection> {
  return new Promise((resolve) => {
    const opened = openConnection({
      origin: coordinator.url,
      on: {
        connected() {
          onConnected();
          resolve(opened);
        },
        disconnected: () => {},
        failed: () => {},
        lease: () => {},
        revoke: () => {},
        verdict: () => {},
        status: () => {},
        notice: () => {},
      },
    });
    connection = opened;
  });
}

const frame = Uint8Array.from({ length: 3 * CHUNK_BYTES + 1000 }, (_, i) => (i * 31) % 251);
const never = new AbortController().signal;

function expectFrame(lease: number): void {
  // Not toEqual: it takes seconds for as many elements.
  expect(Buffer.compare(coordinator.frames.get(lease) ?? Buffer.alloc(0), frame)).toBe(0);
}

describe("an upload", () => {
  test("arrives byte for byte, in chunks no larger than allowed", async () => {
    coordinator = await openFakeCoordinator();
    const offsets: number[] = [];
    await uploadFrame(await connect(), 1, frame, never, (offset) => offsets.push(offset));
    expectFrame(1);
    const chunks = offsets.slice(1).map((offset, i) => offset - offsets[i]);
    // The first one measures the link; behind it they grow.
    expect(chunks[0]).toBeLessThan(CHUNK_BYTES);
    for (const bytes of chunks) expect(bytes).toBeLessThanOrEqual(CHUNK_BYTES);
    expect(offsets.at(-1)).toBe(frame.length);
  });

  test("goes on after a lost link from where the coordinator stands", async () => {
    let chunks = 0;
    let standing = 0;
    coordinator = await openFakeCoordinator({
      refuseChunk(_, offset, bytes) {
        if (chunks < 2) standing = offset + bytes;
        return undefined;
      },
      onMessage(_, socket, event) {
        if (event === "chunk" && ++chunks === 2) socket.conn.close();
      },
    });
    let connections = 0;
    let back: () => void = () => {};
    const again = new Promise<void>((resolve) => {
      back = resolve;
    });
    const link = await connect(() => {
      if (++connections === 2) back();
    });
    await expect(uploadFrame(link, 1, frame, never)).rejects.toBeInstanceOf(OfflineError);
    expect(coordinator.frames.size).toBe(0);
    // Nothing is kept back to be sent when the link returns.
    await expect(link.offer({ lease: 8, bytes: 1 })).rejects.toBeInstanceOf(OfflineError);
    await again;
    const offsets: number[] = [];
    await uploadFrame(link, 1, frame, never, (offset) => offsets.push(offset));
    expect(offsets[0]).toBe(standing);
    expect(standing).toBeGreaterThan(0);
    expectFrame(1);
  });

  test("waits while the coordinator is busy, and stops where it is refused", async () => {
    let answer: Refusal | undefined = { ok: false, code: "BUSY", message: "too much at once" };
    coordinator = await openFakeCoordinator({
      refuseChunk(lease) {
        const now = answer;
        if (lease === 1) answer = undefined; // busy once
        return now;
      },
    });
    const link = await connect();
    await uploadFrame(link, 1, frame, never);
    expectFrame(1);
    answer = { ok: false, code: "STALE", message: "the step is over" };
    const refused = await uploadFrame(link, 2, frame, never).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(UploadRefused);
    expect((refused as UploadRefused).refusal.code).toBe("STALE");
  });

  test("ends when it is dropped", async () => {
    coordinator = await openFakeCoordinator();
    const stop = new AbortController();
    const link = await connect();
    const sending = uploadFrame(link, 1, frame, stop.signal, (offset) => {
      if (offset > 0) stop.abort(new Error("revoked"));
    });
    await expect(sending).rejects.toThrow("revoked");
    expect(coordinator.frames.size).toBe(0);
  });
});

describe("a download", () => {
  const numbers = Float32Array.from({ length: 100 }, (_, i) => i / 7);
  const fast = [1, 1];
  const run = { codec: "f32", table: parameterTable("xxs", 2) } as const;

  test("is the named vector, fetched once for all who ask", async () => {
    coordinator = await openFakeCoordinator();
    const sha256 = coordinator.publish(bytesOf(numbers));
    const downloads = openDownloads({ ...run, origin: coordinator.url, retryMs: fast });
    const [a, b] = await Promise.all([
      downloads.weights(sha256, 100),
      downloads.weights(sha256, 100),
    ]);
    expect(a).toEqual(numbers);
    expect(b).toBe(a);
    expect(coordinator.requests).toEqual([`/weights/${sha256}`]);
  });

  test("goes on for whoever still waits when the one who began it gives up", async () => {
    coordinator = await openFakeCoordinator();
    const sha256 = coordinator.publish(bytesOf(numbers));
    const downloads = openDownloads({ ...run, origin: coordinator.url, retryMs: fast });
    const [first, second] = [new AbortController(), new AbortController()];
    const begun = downloads.weights(sha256, 100, first.signal);
    const joined = downloads.weights(sha256, 100, second.signal);
    first.abort(new Error("dropped"));
    await expect(begun).rejects.toThrow("dropped");
    await expect(joined).resolves.toEqual(numbers);
    expect(coordinator.requests).toHaveLength(1);
  });

  test("that everybody has given up begins anew for the next who asks", async () => {
    coordinator = await openFakeCoordinator();
    const sha256 = coordinator.publish(bytesOf(numbers));
    const downloads = openDownloads({ ...run, origin: coordinator.url, retryMs: fast });
    const stops = [new AbortController(), new AbortController()];
    const given = stops.map(({ signal }) => downloads.weights(sha256, 100, signal));
    for (const stop of stops) stop.abort(new Error("dropped"));
    const next = downloads.weights(sha256, 100, new AbortController().signal);
    for (const vector of given) await expect(vector).rejects.toThrow("dropped");
    await expect(next).resolves.toEqual(numbers);
  });

  test("of bytes that are not what their name says is refused after retries", async () => {
    coordinator = await openFakeCoordinator();
    const sha256 = coordinator.publish(bytesOf(numbers));
    const altered = bytesOf(numbers.slice());
    altered[17] ^= 1;
    coordinator.forge(sha256, altered);
    const downloads = openDownloads({ ...run, origin: coordinator.url, retryMs: fast });
    await expect(downloads.weights(sha256, 100)).rejects.toThrow(/SHA-256/);
    expect(coordinator.requests).toHaveLength(3);
    // A failure is not remembered: put right, it works.
    coordinator.publish(bytesOf(numbers));
    await expect(downloads.weights(sha256, 100)).resolves.toEqual(numbers);
  });

  test("of something that is gone fails at once, of a wrong length after retries", async () => {
    coordinator = await openFakeCoordinator();
    const downloads = openDownloads({ ...run, origin: coordinator.url, retryMs: fast });
    await expect(downloads.weights("0".repeat(64), 100)).rejects.toBeInstanceOf(DownloadError);
    expect(coordinator.requests).toHaveLength(1);
    const short = coordinator.publish(bytesOf(numbers.subarray(1)));
    await expect(downloads.weights(short, 100)).rejects.toThrow(/expected 400 bytes, got 396/);
  });

  test("of a shard gives its samples, and forgets the least used beyond its memory", async () => {
    coordinator = await openFakeCoordinator();
    const refs: Lease["shards"] = [1, 2, 3].map((value) => {
      const bytes = encodeShard([{ bytes: new Uint8Array(50).fill(value), label: value }]);
      const sha256 = coordinator.publish(bytes);
      return { sha256, first: value, count: 1, bytes: bytes.length };
    });
    const keptShardBytes = 2 * refs[0].bytes;
    const downloads = openDownloads({
      ...run,
      origin: coordinator.url,
      retryMs: fast,
      keptShardBytes,
    });
    for (const ref of refs) expect((await downloads.shard(ref))[0].label).toBe(ref.first);
    await downloads.shard(refs[2]); // in memory
    await downloads.shard(refs[0]); // fetched again
    const asked = coordinator.requests.map((path) => path.split("/").at(-1));
    expect(asked).toEqual([refs[0], refs[1], refs[2], refs[0]].map(({ sha256 }) => sha256));
  });
});
