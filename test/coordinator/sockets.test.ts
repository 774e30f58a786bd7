import { DASHBOARD_NAMESPACE } from "@swarmvit/shared/protocol";
import type { HistoryPage, RunState } from "@swarmvit/shared/run";
import fc from "fast-check";
import type { Socket } from "socket.io-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { squat } from "../support/attack.ts";
import { type Cluster, HELLO, HOST_TOKEN, openCluster } from "../support/cluster.ts";

let cluster: Cluster;
beforeAll(async () => {
  cluster = await openCluster();
});
afterAll(() => cluster.close());

const connected = (socket: Socket) =>
  new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
const disconnected = (socket: Socket) =>
  new Promise<string>((resolve) => socket.once("disconnect", resolve));

describe("who may come in", () => {
  it("refuses pages of another origin, and takes its own", async () => {
    await expect(
      connected(cluster.connect(undefined, { origin: "https://evil.example" })),
    ).rejects.toThrow();
    const own = cluster.connect(undefined, { origin: cluster.coordinator.url });
    await connected(own);
    own.disconnect();
  });

  it("sends a stale page or another protocol away with a reason", async () => {
    await expect(cluster.join({ build: "yesterday" })).rejects.toThrow(/BUILD/);
    await expect(cluster.join({ protocol: 99 })).rejects.toThrow(/PROTOCOL/);
  });

  it("knows no other namespace", async () => {
    await expect(connected(cluster.connect("/admin"))).rejects.toThrow();
  });

  it("limits sockets in all", async () => {
    const small = await openCluster({ options: { limits: { sockets: 1 } } });
    await small.join();
    await expect(connected(small.connect())).rejects.toThrow();
    await small.close();
  });
});

describe("the end", () => {
  it("does not wait for a peer that neither reads nor answers", async () => {
    const other = await openCluster();
    const squatters = await squat(other.coordinator.url, 0, 2);
    await other.coordinator.close();
    squatters.close();
    await other.close();
  }, 20_000);
});

describe("messages without sense", () => {
  it("do not end the process, whatever they are", async () => {
    const event = fc.oneof(
      fc.constantFrom("hello", "want", "offer", "chunk", "abandon", "leave", "control"),
      fc.string(),
    );
    const argument = fc.oneof(
      fc.jsonValue(),
      fc.uint8Array({ maxLength: 50 }),
      fc.constant(HELLO),
      fc.record({ lease: fc.oneof(fc.integer(), fc.double()), offset: fc.integer() }),
      fc.record({ leases: fc.integer() }),
    );
    const message = fc.record({
      event,
      args: fc.array(argument, { maxLength: 3 }),
      acknowledged: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(message, { maxLength: 12 }),
        fc.constantFrom(undefined, DASHBOARD_NAMESPACE),
        async (messages, namespace) => {
          const socket = cluster.connect(namespace);
          await connected(socket);
          for (const { event, args, acknowledged } of messages) {
            // Names that the client keeps for itself never reach the wire.
            if (["connect", "connect_error", "disconnect", "disconnecting"].includes(event))
              continue;
            if (["newListener", "removeListener"].includes(event)) continue;
            socket.emit(event, ...args, ...(acknowledged ? [() => {}] : []));
          }
          socket.disconnect();
        },
      ),
      { numRuns: 60 },
    );
    const good = await cluster.join();
    good.want(1);
    const lease = await good.nextLease();
    await good.upload(lease, good.frameOf(lease));
    expect(await good.verdictOf(lease)).toMatchObject({ accepted: true });
    good.close();
  });

  it("are answered MALFORMED, and the fifth closes the socket", async () => {
    const socket = cluster.connect();
    await connected(socket);
    const closed = disconnected(socket);
    for (let i = 0; i < 4; i++)
      expect(await socket.timeout(5000).emitWithAck("offer", { lease: -1 })).toMatchObject({
        ok: false,
        code: "MALFORMED",
      });
    socket.emit("no-such-event");
    await closed;
  });

  it("need no hello to be refused", async () => {
    const socket = cluster.connect();
    await connected(socket);
    const offer = { lease: 1, bytes: 10 };
    expect(await socket.timeout(5000).emitWithAck("offer", offer)).toMatchObject({
      ok: false,
      code: "LEASE",
    });
    socket.disconnect();
  });
});

describe("dashboards", () => {
  it("get the state at once, then what changes, and the records", async () => {
    const socket = cluster.connect(DASHBOARD_NAMESPACE);
    const first = await new Promise<RunState>((resolve) => socket.once("state", resolve));
    expect(first.name).toBe("test");
    const history = new Promise<HistoryPage>((resolve) => socket.once("history", resolve));
    const state = new Promise<RunState>((resolve) => {
      socket.on("state", (now: RunState) => {
        if (now.volunteers.some(({ name }) => name === "watched")) resolve(now);
      });
    });
    const volunteer = await cluster.join({ name: "watched" });
    await state;
    expect((await history).records.length).toBeGreaterThan(0);
    volunteer.close();
    socket.disconnect();
  });

  it("may control the run with the host's token only", async () => {
    const socket = cluster.connect(DASHBOARD_NAMESPACE);
    await connected(socket);
    const control = (token: string, action: string) =>
      socket.timeout(5000).emitWithAck("control", { token, action });
    expect(await control("guess", "pause")).toMatchObject({ ok: false });
    expect(cluster.coordinator.state().phase).not.toBe("paused");
    expect(await control(HOST_TOKEN, "pause")).toEqual({ ok: true });
    expect(cluster.coordinator.state().phase).toBe("paused");
    expect(await control(HOST_TOKEN, "resume")).toEqual({ ok: true });
    expect(cluster.coordinator.state().phase).not.toBe("paused");
    socket.disconnect();
  });
});
