/** A download that several wait for, each by its own signal: the first to give up takes it from nobody. */

export interface SharedDownload<T> {
  /** True once everybody has given up: whoever comes now begins another one. */
  readonly abandoned: boolean;
  /** The result, or the signal's reason as soon as it is aborted. Without a signal it is waited for to the end. */
  join(signal?: AbortSignal): Promise<T>;
}

/** Begins a download; its own signal is aborted when the last who waited for it has given up. */
export function shareDownload<T>(begin: (signal: AbortSignal) => Promise<T>): SharedDownload<T> {
  const stop = new AbortController();
  const result = begin(stop.signal);
  result.catch(() => {}); // who waits hears of it
  let waiting = 0;
  return {
    get abandoned() {
      return stop.signal.aborted;
    },
    join(signal) {
      waiting++;
      if (!signal) return result;
      return new Promise((resolve, reject) => {
        const aborted = () => {
          if (--waiting === 0) stop.abort(signal.reason);
          reject(signal.reason);
        };
        if (signal.aborted) return aborted();
        signal.addEventListener("abort", aborted, { once: true });
        result.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
      });
    },
  };
}
