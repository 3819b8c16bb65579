/** Hashes of the files that a run executes, taken when it starts and again. Whether they are good is not asked. */

import { createHash } from "node:crypto";
import { lstatSync } from "node:fs";
import { readFile } from "node:fs/promises";

interface Stamp {
  readonly size: number;
  readonly modified: number;
  readonly changed: number;
  readonly inode: number;
}

interface Recorded {
  readonly sha256: string;
  readonly stamp: Stamp;
}

export type FileChange = { readonly file: string; readonly change: "content" | "gone" };

export interface SourceRecord {
  /** SHA-256 by file, sorted. */
  readonly hashes: ReadonlyMap<string, string>;
  /**
   * Files whose content is another. By default only those are read whose size, times or inode changed: a writer who sets
   * the times back is found by `whole`, since the change time of the inode cannot be set.
   */
  changes(options?: { whole?: boolean }): Promise<FileChange[]>;
}

/** Not awaited: for hundreds of files the turns of the event loop would take ten times as long. */
function stampOf(file: string): Stamp | undefined {
  const found = lstatSync(file, { throwIfNoEntry: false });
  if (!found) return undefined;
  const { size, mtimeMs, ctimeMs, ino } = found;
  return { size, modified: mtimeMs, changed: ctimeMs, inode: ino };
}

const sha256Of = async (file: string): Promise<string> =>
  createHash("sha256")
    .update(await readFile(file))
    .digest("hex");

/** Hashes the files. @throws where one cannot be read */
export async function recordSources(files: readonly string[]): Promise<SourceRecord> {
  const recorded = new Map<string, Recorded>();
  for (const file of [...new Set(files)].sort()) {
    const sha256 = await sha256Of(file);
    recorded.set(file, { stamp: stampOf(file)!, sha256 });
  }
  return {
    hashes: new Map([...recorded].map(([file, { sha256 }]) => [file, sha256])),
    async changes({ whole = false } = {}) {
      const found: FileChange[] = [];
      for (const [file, { sha256, stamp }] of recorded) {
        const now = stampOf(file);
        const touched =
          !now || (Object.keys(stamp) as (keyof Stamp)[]).some((k) => now[k] !== stamp[k]);
        if (!touched && !whole) continue;
        const hash = now && (await sha256Of(file).catch(() => undefined));
        if (hash !== sha256) found.push({ file, change: hash ? "content" : "gone" });
      }
      return found;
    },
  };
}
