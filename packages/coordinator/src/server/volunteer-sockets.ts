/** The `/volunteer` namespace: messages in become events of the core, its effects become messages out. */

import type { RefusalCode } from "@swarmvit/shared/frame";
import {
  abandonSchema,
  CHUNK_BYTES,
  chunkSchema,
  type Hello,
  helloSchema,
  type JoinRefusal,
  offerSchema,
  PROTOCOL_VERSION,
  type Refusal,
  type RunStatus,
  type ServerToVolunteer,
  VOLUNTEER_NAMESPACE,
  type VolunteerToServer,
  type Welcome,
  wantSchema,
} from "@swarmvit/shared/protocol";
import type { Server, Socket } from "socket.io";
import type { CoreEvent, Effect } from "../core/messages.ts";
import { type GuardLimits, type GuardTools, guardSocket } from "./guard.ts";
import { isSameSecret } from "./secret.ts";
import type { Uploads } from "./uploads.ts";
import { waitingPackets } from "./waiting-packets.ts";

export interface VolunteerSocketsOptions extends GuardTools {
  readonly io: Server;
  readonly uploads: Uploads;
  readonly limits: GuardLimits;
  /** Build id of the pages: a tab with another one reloads. */
  readonly build: string;
  readonly joinToken?: string;
  dispatch(event: CoreEvent): void;
  /** The bytes that a standing lease of this volunteer expects, or why it cannot be answered. */
  leaseOf(lease: number, volunteer: string): { readonly bytes: number } | RefusalCode;
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

/** A socket that has not said hello by then is closed. */
const HELLO_WITHIN_MS = 15_000;
const STATUS_EVERY_MS = 500;
/** Messages waiting for a peer that does not read. */
const MAX_WAITING = 256;

/** Opens the namespace. */
export function openVolunteerSockets(options: VolunteerSocketsOptions): VolunteerSockets {
  const { io, uploads, dispatch, nowMs, log } = options;
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
    const silence = setTimeout(() => socket.disconnect(true), HELLO_WITHIN_MS);
    silence.unref();
    socket.data.greeted = () => clearTimeout(silence);
    const volunteer = () => {
      const id: unknown = socket.data.volunteer;
      return typeof id === "string" && sockets.get(id) === socket ? id : undefined;
    };
    const asVolunteer = (
      acknowledge: ((answer: unknown) => void) | undefined,
      handle: (id: string) => void,
    ) => {
      const id = volunteer();
      if (id) handle(id);
      else acknowledge?.(refusal("LEASE", "Say hello first."));
    };

    guard.on("hello", helloSchema, (hello, acknowledge) => {
      const refused = refuseHello(hello, options);
      if (refused) return acknowledge(refused);
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
        const expected = options.leaseOf(lease, id);
        if (typeof expected === "string") return acknowledge(leaseRefusal(expected));
        if (expected.bytes !== bytes)
          return acknowledge(
            refusal("SIZE", `A frame of ${expected.bytes} bytes was expected (got ${bytes}).`),
          );
        acknowledge(uploads.offer(lease, bytes));
      }),
    );
    guard.onBytes("chunk", chunkSchema, CHUNK_BYTES, ({ lease, offset }, bytes, acknowledge) =>
      asVolunteer(acknowledge, (id) => {
        const expected = options.leaseOf(lease, id);
        if (typeof expected === "string") return acknowledge(leaseRefusal(expected));
        const { answer, complete } = uploads.chunk(lease, offset, bytes);
        acknowledge(answer);
        if (complete) dispatch({ type: "uploaded", volunteer: id, lease, bytes: expected.bytes });
      }),
    );
    guard.onSignal("leave", () =>
      asVolunteer(undefined, (id) => {
        sockets.delete(id);
        dispatch({ type: "leave", volunteer: id });
      }),
    );
    socket.on("disconnect", () => {
      clearTimeout(silence);
      const id = volunteer();
      if (!id) return;
      sockets.delete(id);
      dispatch({ type: "disconnected", volunteer: id });
    });
  });

  const bind = (socket: VolunteerSocket, id: string) => {
    const previous = sockets.get(id);
    socket.data.greeted();
    socket.data.volunteer = id;
    sockets.set(id, socket);
    // The old one is a tab that reconnected before its socket was seen to be gone.
    if (previous && previous !== socket) previous.disconnect(true);
  };
  const to = (id: string): VolunteerSocket | undefined => {
    const socket = sockets.get(id);
    if (socket && waitingPackets(socket) > MAX_WAITING) {
      log(`volunteer ${id} does not read what it is sent: closing its socket`);
      socket.disconnect(true);
      return undefined;
    }
    return socket;
  };

  return {
    send(effect) {
      switch (effect.type) {
        case "answer": {
          const request = requests.get(effect.request);
          requests.delete(effect.request);
          if (!request) return;
          const { socket, acknowledge } = request;
          const { answer } = effect;
          if (answer.ok && !socket.connected)
            return dispatch({ type: "disconnected", volunteer: volunteerOf(effect, answer) });
          if (answer.ok) bind(socket, volunteerOf(effect, answer));
          return acknowledge(answer);
        }
        case "lease":
          to(effect.to)?.emit("lease", effect.lease);
          return;
        case "revoke":
          uploads.drop(effect.revoke.lease); // what has come of its frame so far
          to(effect.to)?.emit("revoke", effect.revoke);
          return;
        case "verdict":
          to(effect.to)?.emit("verdict", effect.verdict);
          return;
        case "notice": {
          const socket = to(effect.to);
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
    if (latestStatus) namespace.volatile.emit("status", latestStatus);
  }
}

function volunteerOf(effect: Extract<Effect, { type: "answer" }>, answer: Welcome): string {
  return effect.volunteer ?? answer.volunteer.id;
}

/** What needs no core to refuse: another protocol, a stale page, a wrong link. */
function refuseHello(hello: Hello, options: VolunteerSocketsOptions): Refusal | undefined {
  if (hello.protocol !== PROTOCOL_VERSION)
    return refusal(
      "PROTOCOL",
      `Protocol ${PROTOCOL_VERSION} was expected (got ${hello.protocol}): reload the page, or update this program.`,
    );
  if (options.joinToken !== undefined && !isSameSecret(hello.token, options.joinToken))
    return refusal("JOIN_TOKEN", "The link is not valid for this run: ask its host for a new one.");
  if (hello.build !== options.build && hello.build !== "node")
    return refusal("BUILD", "This page is older than the coordinator: reload it.");
  return undefined;
}

function leaseRefusal(code: RefusalCode): Refusal {
  return refusal(code, "The lease has ended or is not yours: drop it and take the next one.");
}

function refusal(code: RefusalCode | JoinRefusal, message: string): Refusal {
  return { ok: false, code, message };
}
