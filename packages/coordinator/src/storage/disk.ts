/**
 * The file system as a run's storage uses it: the port that lets tests cut the power. What is
 * written lasts through a power cut only after `sync`; a new, renamed or removed name only after
 * `syncDirectory`. Every method throws what the file system says, with its `code` (ENOSPC, EIO).
 */

export interface Disk {
  /** Names in a directory, sorted; none where there is no such directory. */
  list(directory: string): string[];
  /** `length` bytes from `from`, in memory that is the caller's own, fewer at the end of the file; undefined where there is no file. */
  read(path: string, from?: number, length?: number): Uint8Array | undefined;
  /** Bytes of a file; undefined where there is none. */
  size(path: string): number | undefined;
  /** A new file, or an old one emptied. */
  create(path: string): DiskFile;
  /** An existing file, to be written to. */
  open(path: string): DiskFile;
  rename(from: string, to: string): void;
  /** Another name for a file. EEXIST where the name is taken: one of several takers wins. */
  link(from: string, to: string): void;
  /** No error where there is no such file. */
  remove(path: string): void;
  /** With its parents, and lasting at once. */
  makeDirectory(path: string): void;
  syncDirectory(path: string): void;
}

export interface DiskFile {
  /** All of `bytes`; what was written before an error is there. */
  write(bytes: Uint8Array, position: number): void;
  truncate(size: number): void;
  sync(): void;
  /** `sync` without holding up this thread. After an error nothing written since is certain. */
  syncInBackground(): Promise<void>;
  close(): void;
}
