/**
 * What a device remembers of the choices that were measured on it (which executor, which kernels), so
 * that they are measured once per adapter and version. A store that fails remembers nothing: never an error.
 */

export interface ChoiceStore {
  get(key: string): Promise<string | undefined>;
  set(key: string, value: string): Promise<void>;
}

/** Remembers as long as the thread lives. */
export function createChoiceStore(): ChoiceStore {
  const choices = new Map<string, string>();
  return {
    get: async (key) => choices.get(key),
    async set(key, value) {
      choices.set(key, value);
    },
  };
}
