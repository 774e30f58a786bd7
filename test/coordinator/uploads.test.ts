import type { Credit } from "@swarmvit/shared/protocol";
import { afterEach, describe, expect, it } from "vitest";
import { openUploads } from "../../packages/coordinator/src/server/uploads.ts";
import { type Cluster, openCluster } from "../support/cluster.ts";

let cluster: Cluster | undefined;
afterEach(() => cluster?.close());

describe("uploads", () => {
  it("fill a frame of the exact size, once", () => {
    const uploads = openUploads(100);
    expect(uploads.offer(1, 10)).toEqual({ ok: true, offset: 0, credits: 4 });
    expect(uploads.chunk(1, 0, new Uint8Array(6).fill(1)).credit).toMatchObject({ offset: 6 });
    expect(uploads.take(1)).toBeUndefined();
    // Sent again after an answer that was lost: nothing is taken twice.
    expect(uploads.chunk(1, 0, new Uint8Array(6))).toMatchObject({
      credit: { offset: 6 },
      fresh: false,
      complete: false,
    });
    expect(uploads.chunk(1, 6, new Uint8Array(5))).toMatchObject({ code: "SIZE" });
    expect(uploads.chunk(1, 6, new Uint8Array(0))).toMatchObject({ code: "SIZE" });
    expect(uploads.offer(1, 10)).toMatchObject({ offset: 6 });
    expect(uploads.chunk(1, 6, new Uint8Array(4).fill(2))).toEqual({
      credit: { ok: true, offset: 10, credits: 0 },
      fresh: true,
      complete: true,
    });
    expect([...uploads.take(1)!]).toEqual([1, 1, 1, 1, 1, 1, 2, 2, 2, 2]);
    expect(uploads.take(1)).toBeUndefined();
    expect(uploads.chunk(1, 0, new Uint8Array(1))).toMatchObject({ code: "LEASE" });
  });

  it("stay within the budget", () => {
    const uploads = openUploads(25);
    uploads.offer(1, 10);
    uploads.offer(2, 10);
    expect(uploads.offer(3, 10)).toBeUndefined();
    expect(uploads.bytesInFlight).toBe(20);
    uploads.drop(1);
    uploads.drop(1);
    expect(uploads.bytesInFlight).toBe(10);
    expect(uploads.offer(3, 10)).toMatchObject({ ok: true });
  });

  it("take the memory of frames that are used up, where it fits", () => {
    const uploads = openUploads(100);
    const old = new Uint8Array(10).fill(9);
    uploads.recycle(old);
    const fill = (lease: number, bytes: number) => {
      uploads.offer(lease, bytes);
      uploads.chunk(lease, 0, new Uint8Array(bytes).fill(lease));
      return uploads.take(lease)!;
    };
    expect([...fill(1, 4)]).toEqual([1, 1, 1, 1]);
    const again = fill(2, 10);
    expect(again).toBe(old);
    expect([...again]).toEqual(Array(10).fill(2));
    expect(fill(3, 10)).not.toBe(old);
    // Not more than half of the budget is kept.
    const many: Uint8Array[] = Array.from({ length: 8 }, () => new Uint8Array(10));
    for (const frame of many) uploads.recycle(frame);
    const taken = [4, 5, 6, 7, 8, 9, 10, 11].map((lease) => fill(lease, 10));
    expect(taken.filter((frame) => many.includes(frame))).toHaveLength(5);
  });

  it("go on after a reconnect where they stopped", async () => {
    cluster = await openCluster();
    const before = await cluster.join();
    before.want(1);
    const lease = await before.nextLease();
    const frame = before.frameOf(lease);
    const number = lease.lease;
    const half = 256 * 1024;
    await before.socket.timeout(5000).emitWithAck("offer", { lease: number, bytes: frame.length });
    const first: Credit = await before.socket
      .timeout(5000)
      .emitWithAck("chunk", { lease: number, offset: 0 }, frame.slice(0, half));
    expect(first.offset).toBe(half);
    before.close();

    const { id, secret } = before.welcome.volunteer;
    const after = await cluster.join({ resume: { id, secret } });
    expect(after.welcome.volunteer.id).toBe(id);
    const again = await after.nextLease();
    expect(again).toMatchObject({ lease: number, token: lease.token });
    expect(
      await after.socket.timeout(5000).emitWithAck("offer", { lease: number, bytes: frame.length }),
    ).toMatchObject({ ok: true, offset: half });
    expect(await after.upload(lease, frame)).toMatchObject({ ok: true, offset: frame.length });
    expect(await after.verdictOf(lease)).toMatchObject({ accepted: true });
  });
});
