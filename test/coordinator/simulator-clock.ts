/** Virtual time and seeded chance: what makes a simulation repeatable. */

import { hash32, uniform } from "@swarmvit/shared/random";

export interface Clock {
  readonly now: number;
  after(ms: number, act: () => void): void;
  /** Acts in order of time until nothing is left or `isOver`; false when `untilMs` came first. */
  run(untilMs: number, isOver: () => boolean): boolean;
}

export function openClock(startMs: number): Clock {
  // A binary heap by (time, order of entry).
  const heap: { at: number; order: number; act: () => void }[] = [];
  let now = startMs;
  let entered = 0;
  const isBefore = (a: number, b: number) =>
    heap[a].at < heap[b].at || (heap[a].at === heap[b].at && heap[a].order < heap[b].order);
  const swap = (a: number, b: number) => {
    [heap[a], heap[b]] = [heap[b], heap[a]];
  };
  const pop = () => {
    swap(0, heap.length - 1);
    const first = heap.pop();
    for (let i = 0; ; ) {
      let least = i;
      for (const child of [2 * i + 1, 2 * i + 2])
        if (child < heap.length && isBefore(child, least)) least = child;
      if (least === i) return first;
      swap(i, least);
      i = least;
    }
  };
  return {
    get now() {
      return now;
    },
    after(ms, act) {
      heap.push({ at: now + Math.max(0, ms), order: entered++, act });
      for (let i = heap.length - 1; i > 0; ) {
        const parent = (i - 1) >> 1;
        if (!isBefore(i, parent)) break;
        swap(i, parent);
        i = parent;
      }
    },
    run(untilMs, isOver) {
      while (!isOver()) {
        const next = heap.length > 0 ? pop() : undefined;
        if (!next || next.at > untilMs) return false;
        now = next.at;
        next.act();
      }
      return true;
    },
  };
}

export interface Chance {
  /** Uniform in [0, 1). */
  next(): number;
  between(low: number, high: number): number;
  /** True with this probability. */
  happens(probability: number): boolean;
  /** A whole number in [0, n). */
  below(n: number): number;
}

export function openChance(seed: number): Chance {
  let index = 0;
  const next = () => uniform(seed, index++);
  return {
    next,
    between: (low, high) => low + (high - low) * next(),
    happens: (probability) => next() < probability,
    below: (n) => Math.floor(n * next()),
  };
}

/** 32 hex digits of a text and a key: stands in for an HMAC. */
export function toyMac(key: number, text: string): string {
  let hex = "";
  for (let part = 0; part < 4; part++) {
    let hash = hash32(key, part);
    for (let i = 0; i < text.length; i++) hash = hash32(hash, text.charCodeAt(i) + part);
    hex += hash.toString(16).padStart(8, "0");
  }
  return hex;
}
