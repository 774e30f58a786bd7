/**
 * A coordinator of a few lines on a real port: it serves vectors and shards by hash and gives out the
 * leases it is told to, so that a volunteer's side of the protocol can be looked at message by message.
 */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Codec } from "@swarmvit/shared/codec";
import { frameBytes } from "@swarmvit/shared/frame";
import { parameterTable } from "@swarmvit/shared/parameters";
import type {
  Abandon,
  Credit,
  Hello,
  Lease,
  Refusal,
  RunInfo,
  RunStatus,
  ServerToVolunteer,
  VolunteerToServer,
  Want,
  Welcome,
} from "@swarmvit/shared/protocol";
import { sha256Hex } from "@swarmvit/shared/sha256";
import { Server, type Socket } from "socket.io";

/** Two classes and no dropout: the smallest run there is. */
export const tinyRun: RunInfo = {
  id: "00112233aabbccdd",
  name: "tiny",
  model: "mobilevit_xxs",
  variant: "xxs",
  classes: ["circle", "square"],
  dataset: "shapes",
  samples: 4,
  codec: "f32",
  smoothing: 0.1,
  dropout: 0,
  headDropout: 0,
  augment: { cropScale: [1, 1], cropRatio: [1, 1], flip: false, evalResize: 1 },
  parameterCount: parameterTable("xxs", 2).parameterCount,
  sizes: [{ height: 32, width: 32, batch: 2 }],
};

/** What `status` says unless a test says otherwise. */
export const trainingStatus: RunStatus = {
  phase: "training",
  step: 0,
  totalSteps: 10,
  epoch: 0,
  epochs: 1,
  volunteers: 1,
  imagesPerSecond: 0,
};

/** A lease of the tiny run; fields as given. */
export function tinyLease(fields: Partial<Lease> & Pick<Lease, "lease">): Lease {
  const kind = fields.kind ?? "gradient";
  const codec: Codec = "f32";
  return {
    token: "00112233445566778899aabbccddeeff",
    kind,
    step: 0,
    level: 0,
    index: 0,
    units: [{ index: 0, height: 32, width: 32, samples: [0, 1], seed: 7 }],
    samples: 2,
    shards: [],
    weights: "0".repeat(64),
    codec,
    bytes: frameBytes(kind, codec, parameterTable("xxs", 2)),
    deadlineMs: 60_000,
    ...fields,
  };
}

export type VolunteerSocket = Socket<VolunteerToServer, ServerToVolunteer>;

export interface FakeCoordinator {
  readonly url: string;
  /** Puts bytes under their hash, at /weights/ and /shards/. */
  publish(bytes: Uint8Array): string;
  /** Serves these bytes under a name that is not theirs. */
  forge(sha256: string, bytes: Uint8Array): void;
  /** Paths asked for so far. */
  readonly requests: string[];
  readonly hellos: Hello[];
  readonly wants: Want[];
  readonly abandons: Abandon[];
  /** Whole frames, by lease. */
  readonly frames: Map<number, Uint8Array>;
  /** The socket in use, when there is one. */
  socket(): VolunteerSocket | undefined;
  close(): Promise<void>;
}

export interface FakeOptions {
  welcome?(hello: Hello): Welcome | Refusal;
  /** After each message of the volunteer. */
  onMessage?(coordinator: FakeCoordinator, socket: VolunteerSocket, event: string): void;
  /** Answers a chunk before it is kept, or takes it where it returns nothing. */
  refuseChunk?(lease: number, offset: number, bytes: number): Refusal | undefined;
}

/** Listens on a free port of 127.0.0.1. */
export async function openFakeCoordinator(options: FakeOptions = {}): Promise<FakeCoordinator> {
  const files = new Map<string, Uint8Array>();
  const uploads = new Map<number, { frame: Uint8Array; received: number }>();
  const requests: string[] = [];
  let current: VolunteerSocket | undefined;
  const http = createServer((request, response) => {
    const path = request.url ?? "";
    requests.push(path);
    const bytes = files.get(path.split("/").at(-1) ?? "");
    response.writeHead(bytes ? 200 : 404).end(bytes);
  });
  const io = new Server<VolunteerToServer, ServerToVolunteer>(http, { transports: ["websocket"] });
  io.of("/volunteer").on("connection", (socket) => {
    current = socket;
    const tell = (event: string) => options.onMessage?.(coordinator, socket, event);
    socket.on("hello", (hello, answer) => {
      coordinator.hellos.push(hello);
      answer(options.welcome?.(hello) ?? welcomeTo(tinyRun));
      tell("hello");
    });
    socket.on("want", (want) => {
      coordinator.wants.push(want);
      tell("want");
    });
    socket.on("abandon", (abandon) => {
      coordinator.abandons.push(abandon);
      tell("abandon");
    });
    socket.on("leave", (answer) => {
      tell("leave");
      answer();
    });
    const credit = (lease: number): Credit => {
      const { frame, received } = uploads.get(lease)!;
      return { ok: true, offset: received, credits: received < frame.byteLength ? 2 : 0 };
    };
    socket.on("offer", ({ lease, bytes }, answer) => {
      if (!uploads.has(lease)) uploads.set(lease, { frame: new Uint8Array(bytes), received: 0 });
      answer(credit(lease));
      tell("offer");
    });
    socket.on("chunk", ({ lease, offset }, bytes, answer) => {
      const refusal = options.refuseChunk?.(lease, offset, bytes.byteLength);
      if (refusal) return answer(refusal);
      const upload = uploads.get(lease)!;
      if (offset === upload.received) {
        upload.frame.set(bytes, offset);
        upload.received += bytes.byteLength;
      }
      if (upload.received === upload.frame.byteLength) coordinator.frames.set(lease, upload.frame);
      answer(credit(lease));
      tell("chunk");
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;
  const coordinator: FakeCoordinator = {
    url: `http://127.0.0.1:${port}`,
    publish(bytes) {
      const sha256 = sha256Hex(bytes);
      files.set(sha256, bytes);
      return sha256;
    },
    forge: (sha256, bytes) => void files.set(sha256, bytes),
    requests,
    hellos: [],
    wants: [],
    abandons: [],
    frames: new Map(),
    socket: () => current,
    close: async () => {
      await io.close();
    },
  };
  return coordinator;
}

/** The answer to a hello. */
export function welcomeTo(run: RunInfo, status: RunStatus = trainingStatus): Welcome {
  return { ok: true, volunteer: { id: "v1", secret: "s1", name: "Amber Fox" }, run, status };
}
