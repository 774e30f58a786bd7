/** Events of the core in order, a while in each turn of the event loop; a throw ends all of it. */

import { afterEach, expect, it } from "vitest";
import type { CoreEvent, Effect } from "../../packages/coordinator/src/core/messages.ts";
import { type EventQueue, openEventQueue } from "../../packages/coordinator/src/event-queue.ts";

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

let queue: EventQueue;
afterEach(() => queue.close());

const leave = (volunteer: string): CoreEvent => ({ type: "leave", volunteer });
const status: Effect = { type: "forget-step", step: 0 };

interface Given {
  handle(event: CoreEvent): Effect[];
  wakeAt?(): number | undefined;
  perform?(effect: Effect): void;
  fail?(error: unknown): void;
  nowMs?(): number;
}

function open({ handle, wakeAt = () => undefined, ...given }: Given): EventQueue {
  queue = openEventQueue({
    session: { handle, wakeAt },
    perform: () => {},
    handled: () => {},
    takeTraffic: () => ({ bytesIn: 1, bytesOut: 2 }),
    fail: (error) => {
      throw error;
    },
    nowMs: () => 1000,
    ...given,
  });
  return queue;
}

const named = (event: CoreEvent) => ("volunteer" in event ? event.volunteer : event.type);

it("what an effect brings about waits for the effects before it", () => {
  const told: string[] = [];
  const { dispatch } = open({
    handle(event) {
      told.push(named(event));
      return named(event) === "a" ? [status, status] : [];
    },
    perform() {
      told.push("effect");
      dispatch(leave("b"));
    },
  });
  dispatch(leave("a"));
  expect(told).toEqual(["a", "effect", "effect", "b", "b"]);
});

it("many events leave turns to others, and keep their order", async () => {
  const told: number[] = [];
  const { dispatch } = open({
    handle(event) {
      const until = performance.now() + 3;
      while (performance.now() < until);
      told.push(Number(named(event)));
      return [];
    },
  });
  for (let i = 0; i < 12; i++) dispatch(leave(String(i)));
  const handledAtOnce = told.length;
  expect(handledAtOnce).toBeGreaterThanOrEqual(1);
  expect(handledAtOnce).toBeLessThan(12);
  let turns = 0;
  for (; told.length < 12; turns++) await nextTurn();
  expect(turns).toBeGreaterThanOrEqual(3); // 3 ms each, some 8 ms a turn
  expect(told).toEqual([...Array(12).keys()]);
});

it("the last frame of a step is told after what was moved by then", () => {
  const told: CoreEvent[] = [];
  const { dispatch } = open({
    handle(event) {
      told.push(event);
      return [];
    },
  });
  dispatch({ type: "added", step: 0, node: { level: 1, index: 0 } });
  expect(told).toEqual([
    { type: "traffic", bytesIn: 1, bytesOut: 2 },
    { type: "added", step: 0, node: { level: 1, index: 0 } },
  ]);
  dispatch({ type: "added", step: 0, node: { level: 2, index: 0 } });
  expect(told).toHaveLength(3); // the meter was read in this very millisecond
});

it("the core is woken when it asked for it", async () => {
  let wanted: number | undefined = 1005;
  const woken = new Promise<CoreEvent>((resolve) => {
    open({
      handle(event) {
        if (event.type === "tick") {
          wanted = undefined;
          resolve(event);
        }
        return [];
      },
      wakeAt: () => wanted,
    });
  });
  queue.dispatch(leave("a"));
  expect(await woken).toEqual({ type: "tick" });
});

it("a throw is told once, and nothing is handled after it", async () => {
  const told: unknown[] = [];
  const { dispatch } = open({
    handle(event) {
      if (named(event) === "bad") throw new Error("broken");
      told.push(named(event));
      return [];
    },
    fail: (error) => told.push(error),
  });
  for (const name of ["a", "bad", "b"]) dispatch(leave(name));
  await nextTurn();
  expect(told).toEqual(["a", new Error("broken")]);
});
