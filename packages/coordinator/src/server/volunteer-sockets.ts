/** The `/volunteer` namespace: messages in become events of the core, its effects become messages out. */

import { checkHeader, FrameError, type FrameId, type RefusalCode } from "@swarmvit/shared/frame";
import type { ParameterTable } from "@swarmvit/shared/parameters";
import {
  abandonSchema,
  CHUNK_BYTES,
  chunkSchema,
  type Hello,
  helloSchema,
  offerSchema,
  PROTOCOL_VERSION,
  type RunStatus,
  type ServerToVolunteer,
  type Verdict,
  VOLUNTEER_NAMESPACE,
  type VolunteerToServer,
  type Welcome,
  wantSchema,
} from "@swarmvit/shared/protocol";
import { type AnyRefusal, refusalText } from "@swarmvit/shared/refusals";
import type { Server, Socket } from "socket.io";
import type { CoreEvent, Effect } from "../core/messages.ts";
import type { Admission } from "./admission.ts";
import { connectionOf } from "./engine-connection.ts";
import { type GuardLimits, type GuardTools, guardSocket } from "./guard.ts";
import { isSameSecret } from "./secret.ts";
import { openTokenBucket } from "./token-bucket.ts";
import type { Uploads } from "./uploads.ts";

export interface VolunteerSocketsOptions extends GuardTools {
  readonly io: Server;
  readonly uploads: Uploads;
  readonly limits: GuardLimits;
  /** Build id of the pages: a tab with another one reloads. */
  readonly build: string;
  readonly joinToken?: string;
  readonly table: ParameterTable;
  readonly admission: Pick<Admission, "accountOf">;
  dispatch(event: CoreEvent): void;
  /** The frame that a standing lease of this volunteer expects, or why it cannot be answered. */
  leaseOf(lease: number, volunteer: string): ExpectedFrame | RefusalCode;
  /** The socket has said who it is: it may stay. */
  greeted(socket: VolunteerSocket): void;
}

interface ExpectedFrame {
  readonly expected: FrameId;
  readonly bytes: number;
}

/** Effects that go to volunteers. */
export type VolunteerEffect = Extract<
  Effect,
  { type: "answer" | "lease" | "revoke" | "verdict" | "notice" | "status" }
>;

export interface VolunteerSockets {
  send(effect: VolunteerEffect): void;
}

type VolunteerSocket = Socket<VolunteerToServer, ServerToVolunteer>;

const STATUS_EVERY_MS = 500;
/** Sockets written to in one go: each write is a system call, and others wait for all of them. */
const STATUS_SLICE = 64;

/** Opens the namespace. */
export function openVolunteerSockets(options: VolunteerSocketsOptions): VolunteerSockets {
  const { io, uploads, dispatch, nowMs, refusals } = options;
  const namespace = io.of(VOLUNTEER_NAMESPACE);
  const sockets = new Map<string, VolunteerSocket>(); // volunteer id → its newest socket
  const requests = new Map<
    number,
    { socket: VolunteerSocket; acknowledge: (answer: unknown) => void }
  >();
  let requestCount = 0;
  let statusAt = Number.NEGATIVE_INFINITY;
  let latestStatus: RunStatus | undefined;
  let statusTimer: NodeJS.Timeout | undefined;

  namespace.on("connection", (socket: VolunteerSocket) => {
    const guard = guardSocket(socket as unknown as Socket, options.limits, options);
    const account = options.admission.accountOf(connectionOf(socket).request);
    const volunteer = () => {
      const id: unknown = socket.data.volunteer;
      return typeof id === "string" && sockets.get(id) === socket ? id : undefined;
    };
    const who = () => (volunteer() ? `volunteer ${volunteer()}` : `socket ${socket.id}`);
    const refuse = (code: AnyRefusal, detail?: string) => refusals.refuse(code, who(), detail);
    const asVolunteer = (
      acknowledge: ((answer: unknown) => void) | undefined,
      handle: (id: string) => void,
    ) => {
      const id = volunteer();
      if (id) handle(id);
      else guard.strike("LEASE", "it has not said hello", acknowledge);
    };
    /** Bytes that nobody asked for: a little of it is what was on its way when a lease ended. */
    const waste = (bytes: number) => {
      if (!account.take("waste", nowMs(), bytes)) guard.strike("BYTES", "sent without a lease");
    };
    const vain = openTokenBucket(options.limits.vainPerSecond, options.limits.vainBurst);
    /** An offer or chunk for a lease that cannot be answered. */
    const tooLate = (code: RefusalCode, acknowledge: (answer: unknown) => void, bytes = 0) => {
      waste(bytes);
      if (vain.take(nowMs())) return acknowledge(refuse(code));
      guard.strike("RATE", "frames of leases that have ended", acknowledge);
    };
    /** The lease is at an end: its frame cannot be what was leased. */
    const misfit = (lease: number, code: RefusalCode, detail: string) => {
      uploads.drop(lease);
      dispatch({ type: "refused", lease, code, detail });
      return refuse(code, detail);
    };

    guard.on("hello", helloSchema, (hello, acknowledge) => {
      if (socket.data.asked) return guard.strike("MALFORMED", "a second hello", acknowledge);
      const reason = refuseHello(hello, options);
      if (reason) return guard.strike(...reason, acknowledge);
      if (!account.take("join", nowMs())) return acknowledge(refuse("RATE", "joins"));
      socket.data.asked = true;
      const request = ++requestCount;
      requests.set(request, { socket, acknowledge });
      dispatch({ type: "hello", request, hello });
    });
    guard.on("want", wantSchema, (want) =>
      asVolunteer(undefined, (id) => dispatch({ type: "want", volunteer: id, want })),
    );
    guard.on("abandon", abandonSchema, (abandon) =>
      asVolunteer(undefined, (id) => {
        // Only the holder may end an upload: another's lease is none of its business.
        if (typeof options.leaseOf(abandon.lease, id) !== "string") uploads.drop(abandon.lease);
        dispatch({ type: "abandon", volunteer: id, abandon });
      }),
    );
    guard.on("offer", offerSchema, ({ lease, bytes }, acknowledge) =>
      asVolunteer(acknowledge, (id) => {
        const frame = options.leaseOf(lease, id);
        if (typeof frame === "string") return tooLate(frame, acknowledge);
        if (frame.bytes !== bytes)
          return acknowledge(misfit(lease, "SIZE", `expected ${frame.bytes}, got ${bytes}`));
        const credit = uploads.offer(lease, bytes);
        acknowledge(credit ?? refuse("BUSY"));
      }),
    );
    guard.onBytes("chunk", chunkSchema, CHUNK_BYTES, ({ lease, offset }, bytes, acknowledge) =>
      asVolunteer(acknowledge, (id) => {
        const frame = options.leaseOf(lease, id);
        if (typeof frame === "string") return tooLate(frame, acknowledge, bytes.byteLength);
        // Nothing is allocated for a frame whose header is not the lease's.
        const wrong = offset === 0 ? wrongHeader(bytes, frame, options.table) : undefined;
        if (wrong) return acknowledge(misfit(lease, wrong.code, wrong.message));
        const taken = uploads.chunk(lease, offset, bytes);
        if (!taken.credit) {
          waste(bytes.byteLength);
          return acknowledge(refuse(taken.code, taken.detail));
        }
        if (!taken.fresh) waste(bytes.byteLength);
        acknowledge(taken.credit);
        const { complete, tookMs } = taken;
        if (complete) dispatch({ type: "uploaded", volunteer: id, lease, tookMs });
      }),
    );
    guard.onSignal("leave", () =>
      asVolunteer(undefined, (id) => {
        sockets.delete(id);
        dispatch({ type: "leave", volunteer: id });
      }),
    );
    socket.on("disconnect", () => {
      const id = volunteer();
      if (!id) return;
      sockets.delete(id);
      dispatch({ type: "disconnected", volunteer: id });
    });
  });

  const bind = (socket: VolunteerSocket, id: string) => {
    const previous = sockets.get(id);
    options.greeted(socket);
    socket.data.volunteer = id;
    sockets.set(id, socket);
    // The old one is a tab that reconnected before its socket was seen to be gone.
    if (previous && previous !== socket) previous.disconnect(true);
  };
  const to = (id: string) => sockets.get(id);

  return {
    send(effect) {
      switch (effect.type) {
        case "answer": {
          const request = requests.get(effect.request);
          requests.delete(effect.request);
          if (!request) return;
          const { socket, acknowledge } = request;
          const { answer } = effect;
          if (!answer.ok) {
            socket.data.asked = false; // it may say hello again when there is room
            return acknowledge(refusals.refuse(answer.code, `socket ${socket.id}`, answer.message));
          }
          if (!socket.connected)
            return dispatch({ type: "disconnected", volunteer: volunteerOf(effect, answer) });
          bind(socket, volunteerOf(effect, answer));
          return acknowledge(answer);
        }
        case "lease":
          to(effect.to)?.emit("lease", effect.lease);
          return;
        case "revoke":
          uploads.drop(effect.revoke.lease); // what has come of its frame so far
          to(effect.to)?.emit("revoke", effect.revoke);
          return;
        case "verdict": {
          const { verdict } = effect;
          if (!verdict.accepted && verdict.code)
            refusals.refuse(verdict.code, `volunteer ${effect.to}`, verdict.message);
          to(effect.to)?.emit("verdict", inWords(verdict));
          return;
        }
        case "notice": {
          const socket = to(effect.to);
          const { code, message } = effect.notice;
          if (code !== "PAUSED" && code !== "SELF_TEST")
            refusals.refuse(code, `volunteer ${effect.to}`, message);
          socket?.emit("notice", effect.notice);
          if (effect.notice.final) socket?.disconnect(true);
          return;
        }
        case "status":
          return sendStatus(effect.status);
      }
    },
  };

  /** At most one in a while, and always the last one: pages show where the run is. */
  function sendStatus(status: RunStatus): void {
    latestStatus = status;
    if (statusTimer) return;
    const wait = statusAt + STATUS_EVERY_MS - nowMs();
    if (wait <= 0) return emitStatus();
    statusTimer = setTimeout(emitStatus, wait);
    statusTimer.unref();
  }

  function emitStatus(): void {
    statusTimer = undefined;
    statusAt = nowMs();
    if (latestStatus) emitInSlices([...namespace.sockets.keys()], latestStatus);
  }

  function emitInSlices(ids: string[], status: RunStatus): void {
    const some = ids.splice(0, STATUS_SLICE);
    if (some.length === 0) return;
    namespace.to(some).volatile.emit("status", status);
    setImmediate(emitInSlices, ids, status);
  }
}

function volunteerOf(effect: Extract<Effect, { type: "answer" }>, answer: Welcome): string {
  return effect.volunteer ?? answer.volunteer.id;
}

/** What needs no core to refuse: another protocol, a stale page, a wrong link. */
function refuseHello(
  hello: Hello,
  options: VolunteerSocketsOptions,
): [code: AnyRefusal, detail: string] | undefined {
  if (hello.protocol !== PROTOCOL_VERSION)
    return ["PROTOCOL", `expected ${PROTOCOL_VERSION}, got ${hello.protocol}`];
  if (options.joinToken !== undefined && !isSameSecret(hello.token, options.joinToken))
    return ["JOIN_TOKEN", hello.token === undefined ? "no token" : "another token"];
  if (hello.build !== options.build && hello.build !== "node")
    return ["BUILD", `expected ${options.build}`];
  return undefined;
}

/** How the header in a frame's first chunk differs from its lease; undefined where it does not. */
function wrongHeader(
  chunk: Uint8Array,
  { expected, bytes }: ExpectedFrame,
  table: ParameterTable,
): FrameError | undefined {
  try {
    checkHeader(chunk, expected, table, bytes);
    return undefined;
  } catch (error) {
    if (error instanceof FrameError) return error;
    throw error;
  }
}

function inWords(verdict: Verdict): Verdict {
  const { accepted, code, message } = verdict;
  return accepted || !code ? verdict : { ...verdict, message: refusalText(code, message) };
}
