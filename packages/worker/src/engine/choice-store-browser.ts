/** Choices in IndexedDB: the one store that a Web Worker and its page share. */

import { type ChoiceStore, createChoiceStore } from "./choice-store.ts";

const DATABASE = "swarmvit";
const TABLE = "choices";

/** This origin's choices of one version of the code; those of this thread alone where the browser blocks storage. */
export function openBrowserChoices(version: string): ChoiceStore {
  const fallback = createChoiceStore();
  const database = openDatabase();
  return {
    async get(key) {
      try {
        const table = (await database).transaction(TABLE, "readonly").objectStore(TABLE);
        const value: unknown = await settled(table.get(`${version} ${key}`));
        return typeof value === "string" ? value : undefined;
      } catch {
        return fallback.get(key);
      }
    },
    async set(key, value) {
      try {
        const table = (await database).transaction(TABLE, "readwrite").objectStore(TABLE);
        await settled(table.put(value, `${version} ${key}`));
      } catch {
        await fallback.set(key, value);
      }
    },
  };
}

function openDatabase(): Promise<IDBDatabase> {
  const opened = (async () => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE);
    return settled(request);
  })();
  opened.catch(() => {}); // told by each use
  return opened;
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
