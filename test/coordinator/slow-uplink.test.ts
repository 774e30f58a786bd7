/** A volunteer whose frame takes longer than a heartbeat may: it stays, and its lease is completed. */

import { CHUNK_BYTES } from "@swarmvit/shared/protocol";
import { openConnection } from "@swarmvit/worker/client/connection";
import { uploadFrame } from "@swarmvit/worker/client/upload";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Cluster, connectTo, HELLO, openCluster } from "../support/cluster.ts";
import { frameOf } from "../support/cluster-gradient.ts";
import { openSlowLink, type SlowLink } from "../support/slow-link.ts";

const HEARTBEAT = { pingIntervalMs: 1000, pingTimeoutMs: 3000 };
/** A quarter of a frame in the time that a heartbeat has, twice over. */
const UP_BYTES_PER_SECOND = 100_000;

let cluster: Cluster;
let link: SlowLink;
beforeAll(async () => {
  cluster = await openCluster({ config: { codec: "int8" }, options: { limits: HEARTBEAT } });
  link = await openSlowLink(cluster.coordinator.port, UP_BYTES_PER_SECOND);
});
afterAll(async () => {
  await link.close();
  await cluster.close();
});

it.concurrent("a frame that is sent all at once costs the sender its link", async () => {
  const connections = connectTo(link.url, cluster.table);
  const { socket, ...volunteer } = await connections.join();
  const ended = new Promise<string>((resolve) => socket.once("disconnect", resolve));
  volunteer.want(1);
  const lease = await volunteer.nextLease();
  const frame = volunteer.frameOf(lease);
  expect(frame.byteLength).toBeGreaterThan(
    (2 * (UP_BYTES_PER_SECOND * HEARTBEAT.pingTimeoutMs)) / 1000,
  );
  socket.emit("offer", { lease: lease.lease, bytes: frame.byteLength }, () => {});
  for (let offset = 0; offset < frame.byteLength; offset += CHUNK_BYTES) {
    const part = frame.slice(offset, offset + CHUNK_BYTES);
    socket.emit("chunk", { lease: lease.lease, offset }, part, () => {});
  }
  expect(await ended).toMatch(/transport|ping/);
  connections.close();
});

it.concurrent("a volunteer's own upload goes through on one link, and counts", async () => {
  const drops: string[] = [];
  const verdict = await new Promise((resolve, reject) => {
    let run = "";
    const connection = openConnection({
      origin: link.url,
      on: {
        async connected() {
          const answer = await connection.hello(HELLO);
          if (!answer.ok) return reject(new Error(answer.code));
          run = answer.run.id;
          connection.want({ leases: 1 });
        },
        lease(lease) {
          const frame = frameOf(lease, run, cluster.table);
          const never = new AbortController().signal;
          uploadFrame(connection, lease.lease, frame, never).catch(reject);
        },
        disconnected: (reason) => drops.push(reason),
        failed: reject,
        revoke: reject,
        notice: () => {},
        status: () => {},
        verdict(verdict) {
          connection.want({ leases: 0 });
          connection.close().then(() => resolve(verdict));
        },
      },
    });
  });
  expect(verdict).toMatchObject({ accepted: true, contributions: 1 });
  expect(drops).toEqual(["io client disconnect"]);
});
