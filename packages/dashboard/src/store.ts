/**
 * The page's knowledge of the run: a snapshot over HTTP, then changes over the socket, as signals.
 * Everything that arrives waits for the next animation frame, so a hidden page does nothing.
 */

import { type Signal, signal } from "@preact/signals";
import type {
  Control,
  DASHBOARD_NAMESPACE,
  DashboardToServer,
  ServerToDashboard,
} from "@swarmvit/shared/protocol";
import type { HistoryPage, RunState } from "@swarmvit/shared/run";
import { io, type Socket } from "socket.io-client";
import { EMPTY_HISTORY, extendHistory, type History, MAX_STEPS, pagePosition } from "./history.ts";
import { extendSpeeds, type Speeds } from "./speeds.ts";

/** `loading` until the first answer; `unreachable` when there never was one; `lost` after some. */
export type Connection = "loading" | "live" | "lost" | "unreachable";

export interface Store {
  readonly state: Signal<RunState | undefined>;
  readonly history: Signal<History>;
  readonly connection: Signal<Connection>;
  readonly speeds: Signal<Speeds>;
  /** Asks the coordinator to act; resolves with why not, or undefined when it was done. */
  control(control: Control): Promise<string | undefined>;
  close(): void;
}

const NAMESPACE: typeof DASHBOARD_NAMESPACE = "/dashboard";
const FETCH_TIMEOUT_MS = 10_000;
const CONTROL_TIMEOUT_MS = 10_000;
const RETRY_MS = 2000;
const MAX_WAITING_PAGES = 50;
/** A page with as many records may have a next one. */
const FULL_PAGE = 1000;

/** Connects to the coordinator that served the page (or `origin`) and keeps following it. */
export function openStore(origin = location.origin): Store {
  const state = signal<RunState | undefined>(undefined);
  const history = signal<History>(EMPTY_HISTORY);
  const connection = signal<Connection>("loading");
  const speeds = signal<Speeds>({ time: 0, rows: new Map() });
  const socket: Socket<ServerToDashboard, DashboardToServer> = io(origin + NAMESPACE, {
    transports: ["websocket"],
    reconnectionDelay: 500,
    reconnectionDelayMax: 5000,
  });

  let nextState: RunState | undefined;
  let pages: HistoryPage[] = [];
  let frame = 0;
  let syncing = false;
  let syncAgain = false;

  function schedule(): void {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      flush();
    });
  }

  function flush(): void {
    if (nextState) showState(nextState);
    nextState = undefined;
    if (syncing) return; // pages wait: what they continue is still being fetched
    const waiting = pages;
    pages = [];
    let merged = history.value;
    for (const page of waiting) {
      const position = pagePosition(merged, page);
      if (position === "next") merged = extendHistory(merged, page);
      if (position === "gap") {
        void sync();
        break;
      }
    }
    if (merged !== history.value) history.value = merged;
    if (merged.steps.length > MAX_STEPS) void sync();
  }

  function showState(next: RunState): void {
    if (state.value && state.value.id !== next.id) {
      history.value = EMPTY_HISTORY; // another run behind the same link
      void sync();
    }
    state.value = next;
    speeds.value = extendSpeeds(speeds.value, next.volunteers, Date.now());
  }

  /** Fetches what the page does not have; a call during another makes that one run again. */
  async function sync(): Promise<void> {
    if (syncing) {
      syncAgain = true;
      return;
    }
    syncing = true;
    try {
      do {
        syncAgain = false;
        showState(await get<RunState>(`${origin}/api/run`));
        history.value = await fetchHistory(origin, history.value);
        if (socket.connected) connection.value = "live";
      } while (syncAgain);
    } catch {
      // The socket's next connect starts another attempt.
      connection.value = state.value ? "lost" : "unreachable";
      if (socket.connected) setTimeout(() => void sync(), RETRY_MS);
    } finally {
      syncing = false;
      schedule();
    }
  }

  socket.on("connect", () => {
    if (state.value) connection.value = "live";
    void sync();
  });
  socket.on("disconnect", (reason) => {
    connection.value = state.value ? "lost" : "unreachable";
    // Only then does the client not try again by itself.
    if (reason === "io server disconnect") setTimeout(() => socket.connect(), RETRY_MS);
  });
  socket.on("connect_error", () => {
    connection.value = state.value ? "lost" : "unreachable";
  });
  socket.on("state", (next) => {
    nextState = next;
    schedule();
  });
  socket.on("history", (page) => {
    // A hidden page gets no frames: rather than hoard, leave a gap and ask for it later.
    if (pages.length >= MAX_WAITING_PAGES) pages = [];
    pages.push(page);
    schedule();
  });
  void sync();

  return {
    state,
    history,
    connection,
    speeds,
    async control(control) {
      if (!socket.connected) return "The coordinator is not connected: try again in a moment.";
      try {
        const answer = await socket.timeout(CONTROL_TIMEOUT_MS).emitWithAck("control", control);
        return answer.ok ? undefined : answer.message;
      } catch {
        return "The coordinator did not answer within 10 s: its log says why.";
      }
    },
    close() {
      cancelAnimationFrame(frame);
      socket.disconnect();
    },
  };
}

/** The history with all that came after it; a fresh snapshot where the run was cut or grew too long. */
async function fetchHistory(origin: string, history: History): Promise<History> {
  let merged = history.steps.length > MAX_STEPS ? EMPTY_HISTORY : history;
  for (;;) {
    const page = await get<HistoryPage>(`${origin}/api/history?since=${merged.cursor}`);
    // A resumed run may have forgotten steps: what is shown here is then of another life.
    const forgotten = page.cursor < merged.cursor;
    merged = forgotten ? EMPTY_HISTORY : extendHistory(merged, page);
    if (!forgotten && page.records.length < FULL_PAGE) return merged;
  }
}

async function get<T>(url: string): Promise<T> {
  const response = await fetch(url, { signal: AbortSignal.timeout(FETCH_TIMEOUT_MS) });
  if (!response.ok) throw new Error(`GET ${url}: expected 200, got ${response.status}`);
  return (await response.json()) as T;
}
