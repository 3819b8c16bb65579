/** Disks that fill up or do not sync: a file system with one method changed, for tests. */

import * as realFs from "node:fs/promises";
import type { Fs } from "../src/formats/part.node.ts";

/** The real file system, except for one method of the files it opens: `change` returns its arguments or its result. */
function changed(
  method: string,
  change: (args: unknown[], path: string) => unknown[] | Promise<void>,
): Fs {
  const open = async (path: string, flags: string, mode?: number) =>
    new Proxy(await realFs.open(path, flags, mode), {
      get: (target, key) => {
        const member = Reflect.get(target, key);
        if (typeof member !== "function") return member;
        return (...args: unknown[]) => {
          const other = key === method ? change(args, path) : args;
          return Array.isArray(other) ? member.apply(target, other) : other;
        };
      },
    });
  return { ...realFs, open } as unknown as Fs;
}

/** A disk that takes no more than `most` bytes of the file. */
export function fullAfter(most: number): Fs {
  let written = 0;
  return changed("write", ([bytes, at, length, position], path) => {
    if (!path.endsWith("bytes")) return [bytes, at, length, position];
    const fits = Math.min(length as number, most - written);
    if (fits === 0) throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC" });
    written += fits;
    return [bytes, at, fits, position];
  });
}

/** Thousands of syncs would wait for a disk that others use. */
export const UNSYNCED = changed("sync", async () => {});
