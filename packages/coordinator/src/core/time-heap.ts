/** Things with a time at which they matter, the first one at hand: O(log n) instead of a search. */

export interface TimeHeap<T> {
  push(time: number, item: T): void;
  /** The earliest time whose item is still alive; dead ones on the way are forgotten. */
  peek(): { readonly time: number; readonly item: T } | undefined;
  pop(): T | undefined;
  clear(): void;
}

/** Opens an empty heap. `isAlive` says whether an item still matters at the time it was pushed with. */
export function openTimeHeap<T>(isAlive: (item: T, time: number) => boolean): TimeHeap<T> {
  let entries: { readonly time: number; readonly item: T }[] = [];

  const sink = (entry: { time: number; item: T }) => {
    let hole = 0;
    for (let child = 1; child < entries.length; child = 2 * hole + 1) {
      if (child + 1 < entries.length && entries[child + 1].time < entries[child].time) child++;
      if (entry.time <= entries[child].time) break;
      entries[hole] = entries[child];
      hole = child;
    }
    entries[hole] = entry;
  };
  const drop = () => {
    const last = entries.pop();
    if (last && entries.length > 0) sink(last);
  };
  const peek = () => {
    while (entries.length > 0 && !isAlive(entries[0].item, entries[0].time)) drop();
    return entries.length > 0 ? entries[0] : undefined;
  };

  return {
    push(time, item) {
      let hole = entries.length;
      const entry = { time, item };
      entries.push(entry);
      while (hole > 0) {
        const parent = (hole - 1) >> 1;
        if (entries[parent].time <= time) break;
        entries[hole] = entries[parent];
        hole = parent;
      }
      entries[hole] = entry;
    },
    peek,
    pop() {
      const first = peek();
      if (first) drop();
      return first?.item;
    },
    clear() {
      entries = [];
    },
  };
}
