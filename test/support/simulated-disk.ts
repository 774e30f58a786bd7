/**
 * A disk whose power can be cut: what was not synced is lost, torn or reordered, as file systems
 * may do. Unsynced writes survive by sectors, in any combination; names that were not followed by a
 * sync of their directory survive one by one, in any combination.
 */

import { dirname } from "node:path";
import type { Chance } from "@swarmvit/coordinator/simulate/chance";
import type { Disk, DiskFile } from "../../packages/coordinator/src/storage/disk.ts";

export interface SimulatedDisk extends Disk {
  /** The power goes at the n-th change from now on; that change is done in part. */
  cutPowerAfter(changes: number): void;
  /** True from the cut to `restart`: everything throws meanwhile. */
  readonly isDead: boolean;
  /** Power is back: chance decides what was on its way to the platter. */
  restart(): void;
  /** Bytes that fit; more is ENOSPC. */
  capacity: number;
  /** Changes a file behind everybody's back. */
  damage(path: string, change: (bytes: Uint8Array) => Uint8Array): void;
}

/** Small, so that the records of tiny vectors span several. */
const SECTOR = 64;

interface Inode {
  now: Uint8Array;
  /** What survives a power cut for sure. */
  synced: Uint8Array;
  dirty: boolean;
}

type Change = (names: Map<string, Inode>) => void;

interface Directory {
  now: Map<string, Inode>;
  synced: Map<string, Inode>;
  pending: Change[];
}

export function openSimulatedDisk(chance: Chance): SimulatedDisk {
  const directories = new Map<string, Directory>();
  let left = Number.POSITIVE_INFINITY;
  let dead = false;

  const alive = () => {
    if (dead) throw new Error("the power is gone");
  };
  /** Counts a change; the last one is done `partly`. */
  const change = (partly?: () => void) => {
    alive();
    if (--left > 0) return;
    if (chance.happens(0.5)) partly?.();
    dead = true;
    alive();
  };
  const directoryOf = (path: string): Directory => {
    const directory = directories.get(dirname(path));
    if (!directory) throw errorOf("ENOENT", path);
    return directory;
  };
  const inodeOf = (path: string): Inode | undefined =>
    directories.get(dirname(path))?.now.get(path);
  const rename = ({ now, pending }: Directory, act: Change) => {
    act(now);
    pending.push(act);
  };
  const used = () => {
    const inodes = new Set([...directories.values()].flatMap(({ now }) => [...now.values()]));
    return [...inodes].reduce((sum, inode) => sum + inode.now.length, 0);
  };

  const fileOf = (inode: Inode, path: string): DiskFile => {
    const put = (bytes: Uint8Array, position: number) => {
      const next = new Uint8Array(Math.max(inode.now.length, position + bytes.length));
      next.set(inode.now);
      next.set(bytes, position);
      inode.now = next;
      inode.dirty = true;
    };
    const sync = () => {
      change();
      inode.synced = inode.now;
      inode.dirty = false;
    };
    return {
      write(bytes, position) {
        change(() => put(bytes.slice(0, chance.below(bytes.length)), position));
        const growth = Math.max(0, position + bytes.length - inode.now.length);
        const room = disk.capacity - used();
        if (growth > room) {
          put(bytes.slice(0, Math.max(0, bytes.length - growth + room)), position);
          throw errorOf("ENOSPC", path);
        }
        put(bytes, position);
      },
      truncate(size) {
        change();
        inode.now = inode.now.slice(0, size);
        inode.dirty = true;
      },
      sync,
      async syncInBackground() {
        await null;
        sync();
      },
      close: alive,
    };
  };

  const disk: SimulatedDisk = {
    capacity: Number.POSITIVE_INFINITY,
    get isDead() {
      return dead;
    },
    cutPowerAfter(changes) {
      left = changes;
    },
    restart() {
      dead = false;
      left = Number.POSITIVE_INFINITY;
      for (const directory of directories.values()) {
        const survives = chooser(chance);
        for (const act of directory.pending) if (survives()) act(directory.synced);
        directory.pending = [];
        directory.now = new Map(directory.synced);
      }
      const inodes = new Set([...directories.values()].flatMap(({ now }) => [...now.values()]));
      for (const inode of inodes) {
        if (inode.dirty) inode.now = torn(inode, chance);
        inode.synced = inode.now;
        inode.dirty = false;
      }
    },
    damage(path, act) {
      const inode = inodeOf(path);
      if (!inode) throw errorOf("ENOENT", path);
      inode.now = inode.synced = act(inode.now.slice());
    },

    list(path) {
      alive();
      const names = [...(directories.get(path)?.now.keys() ?? [])];
      return names.map((name) => name.slice(path.length + 1)).sort();
    },
    read(path, from = 0, length = Number.POSITIVE_INFINITY) {
      alive();
      return inodeOf(path)?.now.slice(from, from + length);
    },
    size(path) {
      alive();
      return inodeOf(path)?.now.length;
    },
    create(path) {
      change();
      const empty = new Uint8Array(0);
      let inode = inodeOf(path);
      if (inode) {
        inode.now = empty;
        inode.dirty = true;
      } else {
        const made: Inode = { now: empty, synced: empty, dirty: false };
        rename(directoryOf(path), (names) => names.set(path, made));
        inode = made;
      }
      return fileOf(inode, path);
    },
    open(path) {
      alive();
      const inode = inodeOf(path);
      if (!inode) throw errorOf("ENOENT", path);
      return fileOf(inode, path);
    },
    rename(from, to) {
      change();
      const inode = inodeOf(from);
      if (!inode) throw errorOf("ENOENT", from);
      rename(directoryOf(to), (names) => {
        names.delete(from);
        names.set(to, inode);
      });
    },
    link(from, to) {
      change();
      const inode = inodeOf(from);
      if (!inode) throw errorOf("ENOENT", from);
      if (inodeOf(to)) throw errorOf("EEXIST", to);
      rename(directoryOf(to), (names) => names.set(to, inode));
    },
    remove(path) {
      change();
      if (inodeOf(path)) rename(directoryOf(path), (names) => names.delete(path));
    },
    makeDirectory(path) {
      alive();
      if (!directories.has(path))
        directories.set(path, { now: new Map(), synced: new Map(), pending: [] });
    },
    syncDirectory(path) {
      change();
      const directory = directories.get(path);
      if (!directory) throw errorOf("ENOENT", path);
      directory.synced = new Map(directory.now);
      directory.pending = [];
    },
  };
  return disk;
}

/** What of a file's unsynced bytes was on the platter: sector by sector the old or the new. */
function torn({ now, synced }: Inode, chance: Chance): Uint8Array {
  const survives = chooser(chance);
  const [least, most] = [now.length, synced.length].sort((a, b) => a - b);
  const size = [least, most, least + chance.below(most - least + 1)][chance.below(3)];
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += SECTOR) {
    const source = survives() ? now : synced;
    bytes.set(source.subarray(at, Math.min(at + SECTOR, size)), at);
  }
  return bytes;
}

/** None, all, the first ones, or any: how unsynced changes survive. */
function chooser(chance: Chance): () => boolean {
  const kind = chance.below(4);
  let goesOn = true;
  if (kind === 0) return () => false;
  if (kind === 1) return () => true;
  if (kind === 2) return () => chance.happens(0.5);
  return () => {
    goesOn &&= chance.happens(0.7);
    return goesOn;
  };
}

function errorOf(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code });
}
