/** Files that can be made again: a bounded folder, written atomically, shared by processes. Knows no contents. */

import { node } from "./builtins.node.ts";
import { cacheFolder } from "./cache.node.ts";
import { writeFileAtomic } from "./node.ts";

/** Files used within this time of the latest are never removed: another process may be about to open one. */
const IN_USE_MS = 60 * 60 * 1000;
/** Beside a file: empty, and as old as the last use. */
const USED = ".used";
const DEFAULT_MOST = 32 * 2 ** 30;

/** Where what is made for the runtime is kept. */
export const compiledFolder = (): string => node.path.join(cacheFolder(), "compiled");

export interface CacheOptions {
  /** Default: `compiledFolder()`. */
  folder?: string;
  /** Bytes that all files of the folder may take; those used longest ago go first. Default 32 GiB. */
  most?: number;
  /** Called before a file is made that is not there yet. */
  making?: () => void;
}

/**
 * The path of a cached file, made if it is not there. Two processes may ask at once: both make it, the later one
 * replaces equal by equal. A file of another size than `size` is made again.
 * @param name a file name that names the content
 * @param make the content in pieces, for as long as it is written
 */
export async function cachedFile(
  { name, size, make }: { name: string; size: number; make: () => AsyncIterable<Uint8Array> },
  { folder = compiledFolder(), most = DEFAULT_MOST, making }: CacheOptions = {},
): Promise<string> {
  const { mkdir, stat, writeFile } = node.fs;
  const path = node.path.join(folder, name);
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() && found.size === size) {
    // Writing nothing lets the file system note the time. A read-only cache can still be used.
    await writeFile(path + USED, "").catch(() => undefined);
    return path;
  }
  making?.();
  await mkdir(folder, { recursive: true });
  await writeFileAtomic(path, make());
  await prune(folder, most);
  return path;
}

/** Removes what was used longest ago until the rest takes at most `most` bytes. Also what a killed process left. */
async function prune(folder: string, most: number): Promise<void> {
  const { readdir, rm, stat } = node.fs;
  const files = [];
  const look = (path: string) => stat(path).catch(() => undefined);
  for (const name of await readdir(folder)) {
    const path = node.path.join(folder, name);
    const found = name.endsWith(USED) ? undefined : await look(path);
    if (!found?.isFile()) continue;
    const used = Math.max(found.mtimeMs, (await look(path + USED))?.mtimeMs ?? 0);
    files.push({ path, size: found.size, used });
  }
  files.sort((a, b) => a.used - b.used);
  const latest = files.at(-1)?.used ?? 0;
  let total = files.reduce((sum, { size }) => sum + size, 0);
  for (const { path, size, used } of files) {
    const isLeftover = path.endsWith(".tmp");
    if (latest - used < IN_USE_MS || (total <= most && !isLeftover)) continue;
    // Some systems keep what is in use.
    for (const each of [path, path + USED]) await rm(each, { force: true }).catch(() => undefined);
    total -= size;
  }
}
