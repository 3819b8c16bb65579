/** What a ledger needs of a disk, and a disk in memory that can fail and crash. The real one is disk.node.ts. */

import { InputError } from "../../formats/errors.ts";

/** A folder. Paths are relative, with `/`. Every promise is kept when it resolves, also through a power cut. */
export interface Disk {
  /** Bytes of a file, undefined where there is none. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** A new file, or in the place of the old one: whole or not at all. */
  replace(path: string, bytes: Uint8Array): Promise<void>;
  /** Writes at a place of a file that exists. With `sync` the bytes are on the disk when it resolves. */
  write(path: string, bytes: Uint8Array, options: { at: number; sync: boolean }): Promise<void>;
  /** Cuts a file. */
  truncate(path: string, size: number): Promise<void>;
  remove(path: string): Promise<void>;
  /** Paths of all files below a folder. */
  list(folder: string): Promise<string[]>;
  /** Keeps others from writing until released. @throws InputError when another does */
  lock(): Promise<() => Promise<void>>;
}

/** What a memory disk did, so that a test can fail or crash it at a point. */
export interface MemoryDisk extends Disk {
  readonly files: Map<string, Uint8Array>;
  /** Operations so far that change something. */
  operations: number;
  /** Before which operation the power goes; undefined for never. */
  crashAt?: number;
  /** Which operation fails like a full disk. */
  failAt?: number;
  /**
   * The files after the power went: bytes that were not synced are there up to `kept` of 1, and no further.
   */
  afterCrash(kept: number): MemoryDisk;
}

/** A crash of a memory disk. */
export class PowerCut extends Error {
  override readonly name = "PowerCut";
}

/** A disk in memory, for tests and for ledgers in a browser. */
export function memoryDisk(files = new Map<string, Uint8Array>()): MemoryDisk {
  /** Bytes of each file that a power cut leaves for sure. */
  const safe = new Map([...files].map(([path, bytes]) => [path, bytes.length]));
  let locked = false;
  let dead = false;
  /** What the operation that was cut would have written. */
  let torn: { path: string; bytes: Uint8Array; at: number } | undefined;
  const change = (partial?: typeof torn) => {
    if (dead) throw new PowerCut("the power is off");
    disk.operations++;
    if (disk.operations === disk.failAt) {
      if (partial)
        put(partial.path, partial.bytes.subarray(0, partial.bytes.length >> 1), partial.at);
      throw new InputError("the disk is full");
    }
    if (disk.operations === disk.crashAt) {
      dead = true;
      torn = partial;
      throw new PowerCut("the power went");
    }
  };
  const put = (path: string, bytes: Uint8Array, at: number) => {
    const old = files.get(path) ?? new Uint8Array();
    const grown = new Uint8Array(Math.max(old.length, at + bytes.length));
    grown.set(old);
    grown.set(bytes, at);
    files.set(path, grown);
  };
  const disk: MemoryDisk = {
    files,
    operations: 0,
    read: async (path) => files.get(path)?.slice(),
    async replace(path, bytes) {
      change();
      files.set(path, bytes.slice());
      safe.set(path, bytes.length);
    },
    async write(path, bytes, { at, sync }) {
      change({ path, bytes, at });
      put(path, bytes, at);
      if (sync) safe.set(path, at + bytes.length);
    },
    async truncate(path, size) {
      change();
      files.set(path, files.get(path)!.slice(0, size));
      safe.set(path, size);
    },
    async remove(path) {
      change();
      files.delete(path);
    },
    list: async (folder) =>
      [...files.keys()].filter((path) => folder === "" || path.startsWith(`${folder}/`)).sort(),
    async lock() {
      if (locked) throw new InputError("the ledger is open already; close it there first");
      locked = true;
      return async () => {
        locked = false;
      };
    },
    afterCrash(kept) {
      if (torn) put(torn.path, torn.bytes, torn.at);
      const left = [...files].map(([path, bytes]): [string, Uint8Array] => {
        const sure = safe.get(path) ?? 0;
        return [path, bytes.slice(0, sure + Math.floor((bytes.length - sure) * kept))];
      });
      return memoryDisk(new Map(left));
    },
  };
  return disk;
}
