/** Every code of refusal is reached over real sockets, told to who is refused, counted and logged. */

import { encodeFrame } from "@swarmvit/shared/frame";
import { DASHBOARD_NAMESPACE, type Lease } from "@swarmvit/shared/protocol";
import { type AnyRefusal, REFUSALS, refusalText } from "@swarmvit/shared/refusals";
import type { Socket } from "socket.io-client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openRefusals } from "../../packages/coordinator/src/server/refusals.ts";
import {
  type Cluster,
  HELLO,
  HOST_TOKEN,
  openCluster,
  type RawVolunteer,
} from "../support/cluster.ts";
import { contributionOf, frameIdOf } from "../support/cluster-gradient.ts";

const JOIN_TOKEN = "a-join-token";
const token = { token: JOIN_TOKEN };
const clusters: Cluster[] = [];
afterAll(async () => {
  for (const cluster of clusters) await cluster.close();
});
const open = async (...args: Parameters<typeof openCluster>) => {
  const cluster = await openCluster(...args);
  clusters.push(cluster);
  return cluster;
};

const closed = (socket: Socket) =>
  new Promise<void>((resolve) => socket.once("disconnect", () => resolve()));
const connected = (socket: Socket) =>
  new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
const ask = (socket: Socket, event: string, ...args: unknown[]) =>
  socket.timeout(10_000).emitWithAck(event, ...args);

/** What a frame is refused for when this byte of it is wrong. */
const BYTES: readonly [code: AnyRefusal, offset: number][] = [
  ["MALFORMED", 0],
  ["VERSION", 4],
  ["CODEC", 6],
  ["KIND", 7],
  ["RUN", 8],
  ["STEP", 16],
  ["NODE", 20],
  ["SAMPLES", 28],
  ["LEASE", 34],
  ["SIZE", 44],
  ["TOKEN", 56],
  ["CHECKSUM", 5000],
];

async function lease(cluster: Cluster): Promise<[RawVolunteer, Lease]> {
  const volunteer = await cluster.join(token);
  volunteer.want(1);
  return [volunteer, await volunteer.nextLease()];
}

/** Sends a frame and gives what it is answered in the end. */
async function answerTo(volunteer: RawVolunteer, of: Lease, frame: Uint8Array) {
  const answer = await volunteer.upload(of, frame);
  const said = answer.ok ? await volunteer.verdictOf(of) : answer;
  volunteer.close();
  return said;
}

async function refuseFrames(cluster: Cluster) {
  for (const [code, offset] of BYTES) {
    const [volunteer, of] = await lease(cluster);
    const frame = volunteer.frameOf(of);
    frame[offset] ^= 0x11;
    const said = await answerTo(volunteer, of, frame);
    expect(said).toMatchObject({ code });
    expect(said.message).toContain(REFUSALS[code].did);
    expect(said.message).toContain(REFUSALS[code].advice);
  }
  const wrong: [AnyRefusal, (of: Lease, run: string) => Uint8Array][] = [
    ["COUNTS", (of, run) => reencode(cluster, of, run, (c) => ({ ...c.report, top1: 1000 }))],
    [
      "NON_FINITE",
      (of, run) =>
        reencode(cluster, of, run, ({ gradient, report }) => {
          gradient[5] = Number.NaN;
          return report;
        }),
    ],
    [
      "ZERO",
      (of, run) =>
        reencode(cluster, of, run, ({ gradient, report }) => {
          gradient.fill(0);
          return report;
        }),
    ],
  ];
  for (const [code, make] of wrong) {
    const [volunteer, of] = await lease(cluster);
    expect(await answerTo(volunteer, of, make(of, volunteer.welcome.run.id))).toMatchObject({
      code,
    });
  }
}

function reencode(
  cluster: Cluster,
  of: Lease,
  run: string,
  spoil: (
    contribution: ReturnType<typeof contributionOf>,
  ) => ReturnType<typeof contributionOf>["report"],
): Uint8Array {
  const contribution = contributionOf(of, cluster.table);
  const report = spoil(contribution);
  return encodeFrame(frameIdOf(of, run), cluster.table, { ...contribution, report });
}

/** Leases that have ended, by what ended them. */
async function refuseLate() {
  const cluster = await open({ options: { joinToken: JOIN_TOKEN } });
  const [abandoner, abandoned] = await lease(cluster);
  abandoner.socket.emit("abandon", { lease: abandoned.lease, reason: "paused" });
  const offer = ({ lease, bytes }: Lease) => ({ lease, bytes });
  expect(await ask(abandoner.socket, "offer", offer(abandoned))).toMatchObject({ code: "EXPIRED" });
  abandoner.close();

  const [volunteer, first] = await lease(cluster);
  await volunteer.upload(first, volunteer.frameOf(first));
  await volunteer.verdictOf(first);
  expect(await ask(volunteer.socket, "offer", offer(first))).toMatchObject({ code: "DUPLICATE" });
  volunteer.want(4);
  for (let next = await volunteer.nextLease(); next.step === first.step; ) {
    await volunteer.upload(next, volunteer.frameOf(next));
    next = await volunteer.nextLease();
  }
  expect(await ask(volunteer.socket, "offer", offer(first))).toMatchObject({ code: "STALE" });
  volunteer.close();
}

async function refuseHellos(cluster: Cluster) {
  const hello = async (other: object) => {
    const socket = cluster.connect();
    const answer = await ask(socket, "hello", { ...HELLO, ...token, ...other });
    socket.disconnect();
    return answer;
  };
  expect(await hello({ protocol: 99 })).toMatchObject({ code: "PROTOCOL" });
  expect(await hello({ build: "yesterday" })).toMatchObject({ code: "BUILD" });
  expect(await hello({ token: "another-token" })).toMatchObject({ code: "JOIN_TOKEN" });
  expect(await hello({ token: undefined })).toMatchObject({ code: "JOIN_TOKEN" });
  const origin = cluster.connect(undefined, { origin: "https://evil.example" });
  await expect(connected(origin)).rejects.toThrow();
  const dashboard = cluster.connect(DASHBOARD_NAMESPACE);
  const control = { token: "guess", action: "pause" };
  expect(await ask(dashboard, "control", control)).toMatchObject({ ok: false, code: "HOST_TOKEN" });
  dashboard.disconnect();
}

/** One address with hardly any allowance. */
async function refuseAmounts() {
  const { url, cluster } = await openSmall();
  const from = (address: string) => ({ "x-forwarded-for": address });
  const silent = cluster.connect(undefined, from("192.0.2.1"));
  await closed(silent);

  const join = async (address: string) => {
    const socket = cluster.connect(undefined, from(address));
    return { socket, answer: await ask(socket, "hello", { ...HELLO, ...token }) };
  };
  const one = await join("192.0.2.2");
  const two = await join("192.0.2.2");
  expect([one.answer.ok, two.answer.code]).toEqual([true, "RATE"]);
  await expect(connected(cluster.connect(undefined, from("192.0.2.2")))).rejects.toThrow();
  const told = await fetch(`${url}/api/admission`, { headers: from("192.0.2.2") });
  expect(await told.json()).toEqual({
    ok: false,
    code: "ADDRESS",
    message: refusalText("ADDRESS"),
  });
  two.socket.disconnect();

  const leases = new Promise<Lease>((resolve) => one.socket.once("lease", resolve));
  one.socket.emit("want", { leases: 1 });
  const { weights, bytes, lease } = await leases;
  const weightsUrl = `${url}/weights/${weights}`;
  const download = await fetch(weightsUrl, { headers: from("192.0.2.2") });
  expect([download.status, (await download.json()).code]).toEqual([429, "BYTES"]);
  expect(await ask(one.socket, "offer", { lease, bytes })).toMatchObject({ code: "BUSY" });
  const wasted = closed(one.socket);
  while (one.socket.connected)
    await ask(one.socket, "chunk", { lease: 1, offset: 0 }, new Uint8Array(9000)).catch(() => {});
  await wasted;
}

async function openSmall() {
  const cluster = await open({
    options: {
      joinToken: JOIN_TOKEN,
      limits: {
        trustProxy: 1,
        helloMs: 300,
        joinBurst: 1,
        joinsPerSecond: 0,
        socketsPerAddress: 2,
        downloadBurst: 1000,
        downloadPerSecond: 0,
        wasteBurst: 10_000,
        wastePerSecond: 0,
        uploadBytes: 1000,
      },
    },
  });
  return { cluster, url: cluster.coordinator.url };
}

/** Asks a great deal and reads nothing. */
async function refuseUnread() {
  const many = 1e9;
  const cluster = await open({
    options: {
      joinToken: JOIN_TOKEN,
      limits: {
        unreadBytes: 256 * 1024,
        chunksPerSecond: many,
        chunkBurst: many,
        vainPerSecond: many,
        vainBurst: many,
        packetsPerSecond: many,
        packetBurst: many,
        textPerSecond: many,
        textBurst: many,
      },
    },
  });
  const { socket } = await cluster.join(token);
  const { ws } = socket.io.engine.transport as unknown as {
    ws: { _socket: { pause(): void }; bufferedAmount: number; terminate(): void };
  };
  ws._socket.pause();
  const { refusals } = await metricsOf(cluster);
  const before = refusals.UNREAD;
  for (let now = before; now === before; now = (await metricsOf(cluster)).refusals.UNREAD)
    for (let i = 0; i < 2000; i++)
      socket.emit("chunk", { lease: 1, offset: 0 }, new Uint8Array(1), () => {});
  ws.terminate();
}

/** Sends what was not leased until it is sent away. */
async function refuseAgainAndAgain() {
  const cluster = await open({ options: { joinToken: JOIN_TOKEN } });
  const volunteer = await cluster.join(token);
  const notice = new Promise<{ code: string; final: boolean }>((resolve) =>
    volunteer.socket.once("notice", resolve),
  );
  volunteer.want(1);
  const send = async () => {
    for (;;) {
      const of = await volunteer.nextLease();
      const frame = volunteer.frameOf(of);
      frame[20] ^= 1;
      await volunteer.upload(of, frame);
    }
  };
  send().catch(() => {}); // ends with the link
  expect(await notice).toMatchObject({ code: "REMOVED", final: true });
}

async function refuseWhenFullOrOver() {
  const cluster = await open({
    config: { maxSteps: 1 },
    options: { joinToken: JOIN_TOKEN, limits: { sockets: 2 } },
  });
  const worker = await cluster.join(token);
  worker.want(4);
  worker.serve();
  await cluster.coordinator.finished;
  const late = cluster.connect();
  expect(await ask(late, "hello", { ...HELLO, ...token })).toMatchObject({ code: "FINISHED" });
  worker.close();
  await connected(cluster.connect());
  await expect(connected(cluster.connect())).rejects.toThrow();
}

async function metricsOf({ coordinator }: Cluster) {
  const text = await (await fetch(`${coordinator.url}/metrics`)).text();
  const refusals: Record<string, number> = {};
  for (const [, code, n] of text.matchAll(/^swarmvit_refusals_total\{code="(\w+)"\} (\d+)$/gm))
    refusals[code] = Number(n);
  return { text, refusals };
}

describe("refusals", () => {
  let main: Cluster;
  let again: Promise<void>;
  beforeAll(async () => {
    main = await open({ config: { maxSteps: 50 }, options: { joinToken: JOIN_TOKEN } });
    again = refuseAgainAndAgain(); // mostly waits
  });

  it("of frames that are not what was leased", () => refuseFrames(main));
  it("of leases that have ended", refuseLate);
  it("of who may not come in, or not control", () => refuseHellos(main));
  it("of an address that takes too much", refuseAmounts);
  it("of a socket that asks and does not read", refuseUnread);
  it("when all places are taken, and after the end", refuseWhenFullOrOver);
  it("of a device that sends what was not leased, again and again", () => again);

  it("are all counted and logged under their codes, and no secret is", async () => {
    const total: Record<string, number> = {};
    for (const cluster of clusters)
      for (const [code, n] of Object.entries((await metricsOf(cluster)).refusals))
        total[code] = (total[code] ?? 0) + n;
    const lines = clusters.flatMap((cluster) => cluster.lines);
    for (const code of Object.keys(REFUSALS)) {
      const isLogged = lines.some((line) => line.startsWith(`refused ${code}: `));
      expect([code, total[code] > 0, isLogged]).toEqual([code, true, true]);
    }
    const said = lines.join("\n") + (await metricsOf(main)).text;
    for (const secret of [JOIN_TOKEN, "another-token", "guess", HOST_TOKEN])
      expect(said).not.toContain(secret);
  });

  it("of one code are logged a few times, then now and then with a count; strangers add no lines", () => {
    const lines: string[] = [];
    let now = 0;
    const refusals = openRefusals({ nowMs: () => now, log: (line) => lines.push(line) });
    for (let i = 0; i < 1000; i++) refusals.refuse("RATE", "x\n\u001b[2Jevil", "y\r\nz");
    expect(refusals.counts.get("RATE")).toBe(1000);
    const few = lines.length;
    expect(few).toBeLessThan(10);
    now += 3_600_000;
    refusals.refuse("RATE", "x");
    expect(lines).toHaveLength(few + 1);
    expect(lines.at(-1)).toContain(`${1000 - few} more`);
    expect(lines.join("")).not.toMatch(/\p{C}/u);
  });
});
