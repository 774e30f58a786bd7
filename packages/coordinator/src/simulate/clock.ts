/** Virtual time: acts in order of their time, without waiting. What makes a simulation repeatable. */

export interface Clock {
  /** Virtual Unix milliseconds. */
  readonly now: number;
  after(ms: number, act: () => void): void;
  /** Acts in order of time until `isOver`; false when `untilMs` came first or nothing is left. */
  run(untilMs: number, isOver: () => boolean): boolean;
}

/** Opens a clock: a binary heap by (time, order of entry). */
export function openClock(startMs: number): Clock {
  const times: number[] = [];
  const orders: number[] = [];
  const acts: (() => void)[] = [];
  let now = startMs;
  let entered = 0;

  /** Moves an entry up from a hole at `at` until its parent comes first. */
  const rise = (at: number, time: number, order: number, act: () => void) => {
    let hole = at;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if (times[parent] < time || (times[parent] === time && orders[parent] < order)) break;
      times[hole] = times[parent];
      orders[hole] = orders[parent];
      acts[hole] = acts[parent];
      hole = parent;
    }
    times[hole] = time;
    orders[hole] = order;
    acts[hole] = act;
  };
  const isBefore = (a: number, b: number) =>
    times[a] < times[b] || (times[a] === times[b] && orders[a] < orders[b]);
  const pop = (): (() => void) => {
    const first = acts[0];
    // The hole sinks to a leaf, then the last entry rises from there.
    let hole = 0;
    const last = times.length - 1;
    for (let child = 1; child < last; child = 2 * hole + 1) {
      if (child + 1 < last && isBefore(child + 1, child)) child++;
      times[hole] = times[child];
      orders[hole] = orders[child];
      acts[hole] = acts[child];
      hole = child;
    }
    const time = times.pop() as number;
    const order = orders.pop() as number;
    const act = acts.pop() as () => void;
    if (last > 0) rise(hole, time, order, act);
    return first;
  };

  return {
    get now() {
      return now;
    },
    after(ms, act) {
      rise(times.length, now + Math.max(0, ms), entered++, act);
    },
    run(untilMs, isOver) {
      while (!isOver()) {
        if (times.length === 0 || times[0] > untilMs) return false;
        now = times[0];
        pop()();
      }
      return true;
    },
  };
}
