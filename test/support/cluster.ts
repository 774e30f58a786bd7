/**
 * A real coordinator on port 0 in a temporary directory, and raw volunteers that can send it
 * anything: what they say is in the test's hands, byte for byte.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunConfig } from "@swarmvit/shared/config";
import { type ParameterTable, parameterTable } from "@swarmvit/shared/parameters";
import {
  CHUNK_BYTES,
  type Credit,
  type Hello,
  type Lease,
  PROTOCOL_VERSION,
  type Refusal,
  type ServerToVolunteer,
  type Verdict,
  VOLUNTEER_NAMESPACE,
  type VolunteerToServer,
  type Welcome,
} from "@swarmvit/shared/protocol";
import { variantOf } from "@swarmvit/shared/run-plan";
import { io, type Socket } from "socket.io-client";
import {
  type Coordinator,
  type CoordinatorOptions,
  openCoordinator,
} from "../../packages/coordinator/src/coordinator.ts";
import { packTinyData, tinyConfig } from "./cluster-data.ts";
import { frameOf } from "./cluster-gradient.ts";

export const BUILD = "test-build";
export const HOST_TOKEN = "host-token-of-tests";

export interface ClusterSettings {
  readonly config?: Partial<RunConfig>;
  /** An earlier cluster's, to go on in it. */
  readonly directory?: string;
  readonly options?: Partial<CoordinatorOptions>;
}

export interface Cluster {
  readonly coordinator: Coordinator;
  readonly directory: string;
  readonly runDirectory: string;
  readonly table: ParameterTable;
  /** What the coordinator logged. */
  readonly lines: readonly string[];
  join(hello?: Partial<Hello>): Promise<RawVolunteer>;
  /** A socket that has not said hello. */
  connect(namespace?: string, headers?: Record<string, string>): Socket;
  /** Closes the coordinator and all sockets; the directory stays where `keep`. */
  close(keep?: boolean): Promise<void>;
}

export interface RawVolunteer {
  readonly socket: Socket<ServerToVolunteer, VolunteerToServer>;
  readonly welcome: Welcome;
  want(leases: number): void;
  /** The next lease that arrives, or has arrived and was not asked for. */
  nextLease(): Promise<Lease>;
  /** The verdict of a lease. */
  verdictOf(lease: Lease): Promise<Verdict>;
  /** The right frame for a lease, which says that it took so long. */
  frameOf(lease: Lease, computeMs?: number): Uint8Array;
  /** Offers and sends the frame; gives the last answer. */
  upload(lease: Lease, frame: Uint8Array): Promise<Credit | Refusal>;
  /** Answers every lease rightly from now on. */
  serve(): void;
  close(): void;
}

/** Opens the coordinator; in a directory of its own unless one is given. */
export async function openCluster(settings: ClusterSettings = {}): Promise<Cluster> {
  const directory = settings.directory ?? mkdtempSync(join(tmpdir(), "swarmvit-test-"));
  const config = tinyConfig(settings.config);
  const shardsDirectory = join(directory, "shards");
  const dataset = packTinyData(shardsDirectory);
  const table = parameterTable(variantOf(config), dataset.classes.length);
  const runDirectory = join(directory, "run");
  const lines: string[] = [];
  const coordinator = await openCoordinator({
    config,
    name: "test",
    runDirectory,
    dataset,
    shardsDirectory,
    build: BUILD,
    resume: false,
    host: "127.0.0.1",
    port: 0,
    hostToken: HOST_TOKEN,
    log: (line) => lines.push(line),
    ...settings.options,
  });
  const connections = connectTo(coordinator.url, table);
  return {
    coordinator,
    directory,
    runDirectory,
    table,
    lines,
    join: connections.join,
    connect: connections.connect,
    async close(keep = false) {
      connections.close();
      await coordinator.close();
      if (!keep) rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Raw volunteers of a coordinator that may run in another process. */
export function connectTo(url: string, table: ParameterTable) {
  const sockets: Socket[] = [];
  const connect = (namespace = VOLUNTEER_NAMESPACE, headers: Record<string, string> = {}) => {
    const socket = io(`${url}${namespace}`, {
      transports: ["websocket"],
      forceNew: true,
      reconnection: false,
      extraHeaders: headers,
    });
    sockets.push(socket);
    return socket;
  };
  return {
    connect,
    async join(hello: Partial<Hello> = {}): Promise<RawVolunteer> {
      const socket: Socket<ServerToVolunteer, VolunteerToServer> = connect();
      const listening = listen(socket); // a lease that stands is sent right behind the welcome
      const answer = await socket.timeout(10_000).emitWithAck("hello", { ...HELLO, ...hello });
      if (!answer.ok) throw new Error(`${answer.code}: ${answer.message}`);
      return rawVolunteer(socket, answer, table, listening);
    },
    close() {
      for (const socket of sockets) socket.disconnect();
    },
  };
}

/** What a Node volunteer says first. */
export const HELLO: Hello = {
  protocol: PROTOCOL_VERSION,
  build: "node",
  device: {
    executor: "wasm",
    description: "raw",
    deterministic: true,
    software: false,
    platform: "test",
    memoryBytes: 0,
  },
};

interface Listening {
  readonly leases: Mailbox<Lease>;
  verdictsOf(lease: number): Mailbox<Verdict>;
}

function listen(socket: Socket<ServerToVolunteer, VolunteerToServer>): Listening {
  const leases = openMailbox<Lease>();
  const verdicts = new Map<number, Mailbox<Verdict>>();
  const verdictsOf = (lease: number) => {
    const mailbox = verdicts.get(lease) ?? openMailbox<Verdict>();
    verdicts.set(lease, mailbox);
    return mailbox;
  };
  socket.on("lease", leases.put);
  socket.on("verdict", (verdict) => verdictsOf(verdict.lease).put(verdict));
  return { leases, verdictsOf };
}

function rawVolunteer(
  socket: Socket<ServerToVolunteer, VolunteerToServer>,
  welcome: Welcome,
  table: ParameterTable,
  { leases, verdictsOf }: Listening,
): RawVolunteer {
  const patient = socket.timeout(10_000);

  const volunteer: RawVolunteer = {
    socket,
    welcome,
    want: (count) => socket.emit("want", { leases: count }),
    nextLease: leases.take,
    verdictOf: ({ lease }) => verdictsOf(lease).take(),
    frameOf: (lease, computeMs) => frameOf(lease, welcome.run.id, table, computeMs),
    async upload({ lease }, frame) {
      let answer = await patient.emitWithAck("offer", { lease, bytes: frame.byteLength });
      while (answer.ok && answer.offset < frame.byteLength) {
        const { offset } = answer;
        const bytes = frame.slice(offset, offset + CHUNK_BYTES);
        answer = await patient.emitWithAck("chunk", { lease, offset }, bytes);
      }
      return answer;
    },
    async serve() {
      try {
        while (socket.connected) {
          const lease = await leases.take();
          await volunteer.upload(lease, volunteer.frameOf(lease));
        }
      } catch {
        // The link is gone: whoever killed it knows.
      }
    },
    close: () => socket.disconnect(),
  };
  return volunteer;
}

/** Values that wait for who asks, and askers that wait for values. */
interface Mailbox<T> {
  put(value: T): void;
  take(): Promise<T>;
}

function openMailbox<T>(): Mailbox<T> {
  const values: T[] = [];
  const askers: ((value: T) => void)[] = [];
  return {
    put(value) {
      const asker = askers.shift();
      if (asker) asker(value);
      else values.push(value);
    },
    take() {
      const [value] = values.splice(0, 1);
      return value === undefined
        ? new Promise((resolve) => askers.push(resolve))
        : Promise.resolve(value);
    },
  };
}
