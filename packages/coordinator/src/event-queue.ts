/**
 * The events of the core, one after the other, with the time they are handled at; and its alarm, the
 * only timer that it has. Effects are handed on as they come.
 */

import type { CoreEvent, Effect } from "./core/messages.ts";
import type { Session } from "./core/session.ts";

export interface EventQueueOptions {
  readonly session: Pick<Session, "handle" | "wakeAt">;
  perform(effect: Effect): void;
  /** Called behind each event's effects. */
  handled(event: CoreEvent): void;
  /** What was moved on the wire since the last call. */
  takeTraffic(): { readonly bytesIn: number; readonly bytesOut: number };
  /** The core or an effect threw: nothing is handled any more. */
  fail(error: unknown): void;
  nowMs(): number;
}

export interface EventQueue {
  /**
   * Handles the event now, unless others are under way or this turn of the event loop has had enough
   * of them: then in its order. What an effect brings about waits for the effects before it.
   */
  dispatch(event: CoreEvent): void;
  close(): void;
}

/** Milliseconds of a turn for events; the others come in the next turn, behind what sockets need. */
const TURN_MS = 8;
/** Bytes are read off the connections every second, and before a step may end, but not more often than this. */
const TRAFFIC_MS = 1000;
const LEAST_TRAFFIC_MS = 20;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Opens the queue; it handles nothing by itself before the first event. */
export function openEventQueue(options: EventQueueOptions): EventQueue {
  const { session, perform, handled, takeTraffic, fail, nowMs } = options;
  const queue: CoreEvent[] = [];
  let handling = false;
  let ended = false;
  let alarm: NodeJS.Timeout | undefined;
  let trafficAt = Number.NEGATIVE_INFINITY;
  /** Until when events are handled in this turn; undefined before its first one. */
  let turnEnds: number | undefined;

  const traffic = (): CoreEvent => {
    trafficAt = nowMs();
    return { type: "traffic", ...takeTraffic() };
  };
  const handle = (event: CoreEvent) => {
    for (const effect of session.handle(event, nowMs())) perform(effect);
  };
  const hasTime = () => {
    const now = performance.now();
    if (turnEnds === undefined) {
      turnEnds = now + TURN_MS;
      setImmediate(() => {
        turnEnds = undefined;
        if (queue.length > 0) drain();
      });
    }
    return now < turnEnds;
  };
  const drain = () => {
    if (handling || ended) return;
    handling = true;
    try {
      while (queue.length > 0 && !ended && hasTime()) {
        const [next] = queue.splice(0, 1);
        // The last frame or sum ends the step, and its line says what has been moved by then.
        const mayEndStep = next.type === "verified" || next.type === "added";
        if (mayEndStep && nowMs() - trafficAt >= LEAST_TRAFFIC_MS) handle(traffic());
        handle(next);
        handled(next);
      }
    } catch (error) {
      close();
      fail(error);
    } finally {
      handling = false;
      setAlarm();
    }
  };
  const dispatch = (event: CoreEvent) => {
    if (ended) return;
    queue.push(event);
    drain();
  };
  const setAlarm = () => {
    clearTimeout(alarm);
    const at = ended ? undefined : session.wakeAt();
    if (at === undefined) return;
    const delay = Math.min(Math.max(1, Math.ceil(at - nowMs())), LONGEST_TIMER_MS);
    alarm = setTimeout(() => dispatch({ type: "tick" }), delay);
  };
  const meter = setInterval(() => dispatch(traffic()), TRAFFIC_MS);
  const close = () => {
    ended = true;
    clearTimeout(alarm);
    clearInterval(meter);
  };
  return { dispatch, close };
}
