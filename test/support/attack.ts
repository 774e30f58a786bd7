/**
 * A seeded stranger: random and mutated messages, frames, packets and bytes on real sockets, a given
 * number of them, as fast as the rate allows. It counts what it sent; it never expects an answer.
 */

import { connect as connectTcp } from "node:net";
import type { ParameterTable } from "@swarmvit/shared/parameters";
import {
  CHUNK_BYTES,
  DASHBOARD_NAMESPACE,
  type Lease,
  VOLUNTEER_NAMESPACE,
} from "@swarmvit/shared/protocol";
import { hash32 } from "@swarmvit/shared/random";
import { io, type Socket } from "socket.io-client";
import { HELLO } from "./cluster.ts";
import { frameOf } from "./cluster-gradient.ts";

export interface AttackOptions {
  readonly url: string;
  readonly table: ParameterTable;
  readonly seed: number;
  /** Messages in all. */
  readonly messages: number;
  /** Milliseconds that all of it takes at least. */
  readonly durationMs: number;
}

/** What was sent, by kind. */
export type Sent = Record<string, number>;

interface Chance {
  /** A whole number in [0, below). */
  int(below: number): number;
  pick<T>(from: readonly T[]): T;
  bytes(length: number): Uint8Array;
}

/** Messages of one socket: enough that it is mostly closed before it is through. */
const BURST = 40;

/** Resolves when everything is sent and every socket is closed. */
export async function attack(options: AttackOptions): Promise<Sent> {
  const chance = openChance(options.seed);
  const sent: Sent = {};
  const kinds = [events, events, packets, packets, frames, frames, tcp];
  const startedAt = performance.now();
  for (let done = 0; done < options.messages; ) {
    const bursts = Array.from({ length: 4 }, () => chance.pick(kinds));
    const counts = await Promise.all(bursts.map((kind) => kind(options, chance)));
    for (const [i, count] of counts.entries()) {
      sent[bursts[i].name] = (sent[bursts[i].name] ?? 0) + count;
      done += count;
    }
    const dueAt = startedAt + (options.durationMs * done) / options.messages;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueAt - performance.now())));
  }
  return sent;
}

/** Events of Socket.IO: known names with wrong contents, and unknown ones. */
async function events({ url }: AttackOptions, chance: Chance): Promise<number> {
  const socket = await open(url, chance.pick([VOLUNTEER_NAMESPACE, DASHBOARD_NAMESPACE]));
  if (chance.int(2)) socket.emit("hello", HELLO, () => {});
  const names = ["hello", "want", "offer", "chunk", "abandon", "leave", "control", "error", "x"];
  for (let i = 0; i < BURST && socket.connected; i++) {
    const args = Array.from({ length: chance.int(4) }, () => argument(chance));
    socket.emit(chance.pick(names), ...args, ...(chance.int(2) ? [() => {}] : []));
  }
  return close(socket, BURST);
}

function argument(chance: Chance): unknown {
  const n = chance.pick([0, 1, -1, 2 ** 32, 2 ** 53, 1e308, 0.5, chance.int(2 ** 31)]);
  return chance.pick<unknown>([
    n,
    null,
    "x".repeat(chance.int(300)),
    "__proto__",
    [n, [n, [n]]],
    { leases: n },
    { lease: n, bytes: n },
    { lease: 2 ** 32 + chance.int(1000), offset: n },
    { lease: n, reason: "paused", sample: n },
    { ...HELLO, protocol: n },
    JSON.parse('{"__proto__":{"leases":1},"constructor":1}'),
    chance.bytes(chance.int(2000)),
    { deep: chance.bytes(9) },
  ]);
}

/** Packets under Socket.IO: what its own client never writes. */
async function packets({ url }: AttackOptions, chance: Chance): Promise<number> {
  const socket = await open(url, chance.pick([VOLUNTEER_NAMESPACE, DASHBOARD_NAMESPACE]));
  const ws = webSocketOf(socket);
  for (let i = 0; i < BURST && socket.connected; i++) ws.send(packet(chance));
  return close(socket, BURST);
}

function packet(chance: Chance): string | Uint8Array {
  const text = chance.pick([
    '42/volunteer,["want",{"leases":1}]',
    '42/volunteer,7["offer",{"lease":1,"bytes":2}]',
    '451-/volunteer,7["chunk",{"lease":1,"offset":0},{"_placeholder":true,"num":0}]',
    '459999999-/volunteer,["chunk",{"_placeholder":true,"num":-1}]',
    "42/volunteer,",
    "43/volunteer,1[]",
    "40/",
    "40/admin,",
    "41/volunteer,",
    "2",
    "3",
    "9",
    `42/volunteer,${"[".repeat(chance.int(5000))}`,
    `42/volunteer,["want",${'{"a":'.repeat(chance.int(500))}`,
    `42/volunteer,["x","${"y".repeat(chance.int(40_000))}"]`,
  ]);
  if (chance.int(4) === 0) return chance.bytes(chance.int(3000));
  if (chance.int(2)) return text;
  const at = chance.int(text.length + 1);
  return (
    text.slice(0, at) + String.fromCharCode(32 + chance.int(95)) + text.slice(at + chance.int(3))
  );
}

/** A volunteer that takes leases and answers them with damaged, cut, repeated or misplaced frames. */
async function frames({ url, table }: AttackOptions, chance: Chance): Promise<number> {
  const socket = await open(url, VOLUNTEER_NAMESPACE);
  let count = 0;
  try {
    const leases: Lease[] = [];
    socket.on("lease", (lease: Lease) => leases.push(lease));
    const welcome = await socket.timeout(5000).emitWithAck("hello", HELLO);
    if (!welcome.ok) return close(socket, 1);
    socket.emit("want", { leases: 2 });
    await socket.timeout(5000).emitWithAck("offer", { lease: 0, bytes: 0 });
    for (const lease of leases.splice(0)) {
      const frame = mutate(frameOf(lease, welcome.run.id, table), chance);
      const bytes = chance.int(8) ? lease.bytes : frame.byteLength;
      const { lease: number } = lease;
      socket.emit("offer", { lease: number, bytes }, () => {});
      count++;
      for (let offset = 0; offset < frame.byteLength; offset += CHUNK_BYTES) {
        const at = chance.int(20) ? offset : chance.int(frame.byteLength);
        const part = frame.slice(offset, offset + CHUNK_BYTES);
        for (let copies = chance.int(10) ? 1 : 3; copies > 0; copies--, count++)
          socket.emit("chunk", { lease: number, offset: at }, part, () => {});
      }
    }
    socket.emit("leave");
    await socket.timeout(5000).emitWithAck("offer", { lease: 0, bytes: 0 });
  } catch {
    // closed by the coordinator, as it should be
  }
  return close(socket, count + 4);
}

function mutate(frame: Uint8Array, chance: Chance): Uint8Array {
  const header = 80;
  switch (chance.int(5)) {
    case 0: // somewhere in the header
      frame[chance.int(header)] ^= 1 + chance.int(255);
      return frame;
    case 1: // one bit anywhere
      frame[chance.int(frame.byteLength)] ^= 1 << chance.int(8);
      return frame;
    case 2: // cut
      return frame.slice(0, chance.int(frame.byteLength));
    case 3: // nothing right but the length
      return chance.bytes(frame.byteLength);
    default: {
      // longer
      const longer = new Uint8Array(frame.byteLength + 1 + chance.int(1000));
      longer.set(frame);
      return longer;
    }
  }
}

/** Bytes that are no HTTP, or half of it. */
async function tcp({ url }: AttackOptions, chance: Chance): Promise<number> {
  const { hostname, port } = new URL(url);
  const texts = [
    "GET / HTTP/1.1\r\nHost: x\r\n",
    "GET /weights/../../run.json HTTP/1.1\r\nHost: x\r\n\r\n",
    `GET /${"a".repeat(9000)} HTTP/1.1\r\n\r\n`,
    "POST /api/run HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\nabc",
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n\r\n",
    "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n",
  ];
  await new Promise<void>((resolve) => {
    const socket = connectTcp(Number(port), hostname, () => {
      socket.write(chance.pick(texts));
      socket.write(chance.bytes(chance.int(4000)));
      setTimeout(() => socket.destroy(), 10);
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve());
  });
  return 2;
}

/** Sockets that stay: idle, or joined and idle, until they are closed; and those that never read. */
export interface Squatters {
  /** Opens again what the coordinator has closed. */
  keepUp(): Promise<void>;
  /** Has the volunteers that do not read ask for an answer; the dashboards are sent things unasked. */
  ask(): void;
  close(): void;
}

/** Opens `idle` sockets that say nothing (every second one a hello first) and `deaf` ones that never read. */
export async function squat(url: string, idle: number, deaf: number): Promise<Squatters> {
  const idlers: (Socket | undefined)[] = Array.from({ length: idle });
  const deaves: (Socket | undefined)[] = Array.from({ length: deaf });
  const fillUp = async (
    sockets: (Socket | undefined)[],
    make: (index: number) => Promise<Socket>,
  ) => {
    const closed = [...sockets.keys()].filter((i) => !sockets[i]?.connected);
    while (closed.length > 0)
      await Promise.all(
        closed.splice(0, 20).map(async (i) => {
          sockets[i] = await make(i).catch(() => undefined);
        }),
      );
  };
  const idler = async (index: number) => {
    const socket = await open(url, VOLUNTEER_NAMESPACE);
    if (index % 2) socket.emit("hello", HELLO, () => {});
    return socket;
  };
  const deafOne = async (index: number) => {
    const socket = await open(url, index % 2 ? VOLUNTEER_NAMESPACE : DASHBOARD_NAMESPACE);
    if (index % 2) socket.emit("hello", HELLO, () => {});
    webSocketOf(socket)._socket.pause();
    return socket;
  };
  const keepUp = async () => {
    await fillUp(idlers, idler);
    await fillUp(deaves, deafOne);
  };
  await keepUp();
  return {
    keepUp,
    ask() {
      for (const [i, socket] of deaves.entries())
        if (i % 2) socket?.emit("chunk", { lease: 1, offset: 0 }, new Uint8Array(1), () => {});
    },
    close() {
      for (const socket of [...idlers, ...deaves]) socket?.disconnect();
    },
  };
}

function open(url: string, namespace: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = io(`${url}${namespace}`, {
      transports: ["websocket"],
      forceNew: true,
      reconnection: false,
    });
    socket.once("connect", () => resolve(socket));
    socket.once("connect_error", (error) => {
      socket.disconnect();
      reject(error);
    });
  });
}

/** The client's own WebSocket, under Socket.IO and Engine.IO. */
function webSocketOf(socket: Socket) {
  const { ws } = socket.io.engine.transport as unknown as {
    ws: { send(data: string | Uint8Array): void; _socket: { pause(): void } };
  };
  return ws;
}

/** Closes after what was written has left. */
async function close(socket: Socket, count: number): Promise<number> {
  const { engine } = socket.io;
  if (socket.connected)
    await new Promise<void>((resolve) => {
      engine.once("drain", resolve);
      socket.once("disconnect", () => resolve());
      if (engine.writeBuffer.length === 0) setTimeout(resolve, 5);
    });
  socket.disconnect();
  return count;
}

function openChance(seed: number): Chance {
  let calls = 0;
  const int = (below: number) => (below <= 0 ? 0 : hash32(seed, calls++) % below);
  return {
    int,
    pick: (from) => from[int(from.length)],
    bytes(length) {
      const bytes = new Uint8Array(length);
      let x = hash32(seed, calls++) | 1;
      for (let i = 0; i < length; i++) {
        x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
        bytes[i] = x >>> 24;
      }
      return bytes;
    },
  };
}
