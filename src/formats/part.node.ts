/** A file that is not whole yet, kept aside so that it can go on after any kind of end. Knows no network. */

import type { FileHandle } from "node:fs/promises";
import { node } from "./builtins.node.ts";
import { InputError } from "./errors.ts";
import { parseJson } from "./json.ts";
import { writeFileAtomic } from "./node.ts";
import { isSha256 } from "./sha256.node.ts";

/** Node's file system; tests put faults into it. */
export type Fs = typeof import("node:fs/promises");

/** Where the bytes of a part come from: only bytes of the same source may follow. */
export interface PartSource {
  readonly url: string;
  readonly size?: number;
  readonly etag?: string;
  /** What the whole file must hash to, where that is known. */
  readonly sha256?: string;
}

const FORMAT = 1;
const BYTES_FILE = "bytes";
const NOTE_FILE = "source.json";
/** Bytes between two moments at which everything is surely on disk; a power cut costs at most this much. */
const SYNC_EVERY = 32 * 2 ** 20;

/** Names of the parts that this process is writing; tells its own downloads apart. */
const writing = new Set<string>();
let claims = 0;

/**
 * A part is a folder beside its file: `NAME.part` at rest, `NAME.part-HOST-PID-N` while a process writes it, with the
 * bytes and a note of their source. Taking one over is a rename, which only one of several processes can win, so no
 * two ever write the same bytes; what a killed process left is taken over when its number is free again.
 */
export class Part {
  /** Bytes that are there. */
  length = 0;
  source: PartSource | undefined;
  readonly #path: string;
  readonly #folder: string;
  readonly #fs: Fs;
  #file: FileHandle | undefined;
  #synced = 0;
  #ended = false;

  private constructor(path: string, folder: string, fs: Fs) {
    this.#path = path;
    this.#folder = folder;
    this.#fs = fs;
  }

  /**
   * The part of the file `path`, with what is left of an earlier one; its folder is made where it is absent.
   * @throws InputError when another living process of this machine is writing it
   */
  static async claim(path: string, { fs = node.fs }: { fs?: Fs } = {}): Promise<Part> {
    const { basename, dirname, join } = node.path;
    const home = dirname(path);
    await fs.mkdir(home, { recursive: true });
    const name = `${basename(path)}.part-${hostName()}-${process.pid}-${claims++}`;
    const own = join(home, name);
    writing.add(name);
    try {
      const { free, busy } = await partsOf(path, fs);
      if (busy.length > 0) throw busyError(path, busy[0]!);
      if (!(await takeOver(free, own, fs))) await fs.mkdir(own);
      // Two that begin in the same moment see each other here: the second one in this order gives way.
      const other = (await partsOf(path, fs)).busy.find((folder) => basename(folder) < name);
      const part = new Part(path, own, fs);
      await part.#open();
      if (other) {
        await part.release();
        throw busyError(path, other);
      }
      return part;
    } catch (error) {
      writing.delete(name);
      throw error;
    }
  }

  /** All bytes of a source whose size is known are there. */
  get complete(): boolean {
    return this.length > 0 && this.length === this.source?.size;
  }

  /** The file with the bytes so far, for reading. */
  get file(): string {
    return node.path.join(this.#folder, BYTES_FILE);
  }

  /** Starts anew with bytes of this source. */
  async begin(source: PartSource | undefined): Promise<void> {
    this.source = source;
    this.length = 0;
    await this.#file!.truncate(0);
    await this.#note();
  }

  async append(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.#file!.write(
        bytes,
        at,
        bytes.length - at,
        this.length, // by position: after a failed write the next one begins where the good bytes end
      );
      at += bytesWritten;
      this.length += bytesWritten;
    }
    if (this.length - this.#synced >= SYNC_EVERY) await this.#note();
  }

  /** Bytes that the disk still takes; undefined where it does not say. */
  async room(): Promise<number | undefined> {
    try {
      const { bavail, bsize } = await this.#fs.statfs(this.#folder);
      return bavail * bsize;
    } catch {
      return undefined;
    }
  }

  /** Gives the bytes their real name, replacing what has it, and ends. */
  async publish(): Promise<void> {
    await this.#file!.sync();
    await this.#close();
    await this.#fs.rename(this.file, this.#path);
    await syncFolder(node.path.dirname(this.#path), this.#fs);
    await this.#end();
  }

  /** Throws the bytes away and ends. */
  async discard(): Promise<void> {
    await this.#close();
    await this.#end();
  }

  /** Puts the part to rest for a later claim. Does nothing after `publish` and `discard`; never throws. */
  async release(): Promise<void> {
    if (this.#ended) return;
    try {
      if (this.#file) await this.#note();
    } catch {
      // A full disk: the note before this one still holds, for fewer bytes.
    }
    try {
      await this.#close();
      if (this.length === 0) return await this.#end();
      await this.#fs.rename(this.#folder, `${this.#path}.part`);
      this.#forget();
    } catch {
      await this.#end().catch(() => this.#forget()); // there is one at rest already
    }
  }

  async #open(): Promise<void> {
    const { source, synced } = await readNote(node.path.join(this.#folder, NOTE_FILE), this.#fs);
    this.#file = await this.#fs.open(this.file, source ? "r+" : "w+").catch((error) => {
      if (error.code !== "ENOENT") throw error;
      return this.#fs.open(this.file, "w+");
    });
    const { size } = await this.#file.stat();
    // After a power cut the file may be long and its end never written: only what was synced counts.
    const good = source && size >= synced ? synced : 0;
    this.source = good > 0 ? source : undefined;
    this.length = good;
    this.#synced = good;
    if (size !== good) await this.#file.truncate(good);
  }

  async #note(): Promise<void> {
    await this.#file!.sync();
    const note = { format: FORMAT, ...this.source, synced: this.length };
    const text = new TextEncoder().encode(`${JSON.stringify(note)}\n`);
    await writeFileAtomic(node.path.join(this.#folder, NOTE_FILE), text, { fs: this.#fs });
    this.#synced = this.length;
  }

  async #close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  async #end(): Promise<void> {
    await this.#fs.rm(this.#folder, { recursive: true, force: true });
    this.#forget();
  }

  #forget(): void {
    this.#ended = true;
    writing.delete(node.path.basename(this.#folder));
  }
}

/** Removes what is kept of a file that is not whole; parts that a living process writes stay. @returns how many */
export async function removeParts(path: string, { fs = node.fs } = {}): Promise<number> {
  const { free } = await partsOf(path, fs);
  for (const folder of free) await fs.rm(folder, { recursive: true, force: true });
  return free.length;
}

const busyError = (path: string, folder: string): InputError =>
  new InputError(
    `${path} is being downloaded by another process already; wait for it, or if there is none, remove ${folder}`,
    { path, folder },
  );

/** The name of this machine as a part of file names. Processes of another machine cannot be asked whether they live. */
const hostName = (): string =>
  node.os
    .hostname()
    .replace(/[^A-Za-z0-9]/g, "_")
    .slice(0, 40);

/** Parts of a file: those that can be taken over, and those that a living process of this machine writes. */
async function partsOf(path: string, fs: Fs): Promise<{ free: string[]; busy: string[] }> {
  const { basename, dirname, join } = node.path;
  const rest = `${basename(path)}.part`;
  const found = { free: [] as string[], busy: [] as string[] };
  for (const name of await fs.readdir(dirname(path)).catch(() => [] as string[])) {
    if (!name.startsWith(rest)) continue;
    const owner = /^-([A-Za-z0-9_]*)-(\d{1,10})-\d+$/.exec(name.slice(rest.length));
    if (name !== rest && owner?.[1] !== hostName()) continue;
    // A part with our own number that we do not write is of a dead process that had the number before.
    const pid = owner ? Number(owner[2]) : process.pid;
    const busy = writing.has(name) || (pid !== process.pid && isAlive(pid));
    found[busy ? "busy" : "free"].push(join(dirname(path), name));
  }
  return found;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Renames the longest part to `own` and removes the others. @returns false where there is none to take */
async function takeOver(parts: readonly string[], own: string, fs: Fs): Promise<boolean> {
  const sized = await Promise.all(
    parts.map(async (folder) => {
      const stat = await fs.stat(node.path.join(folder, BYTES_FILE)).catch(() => undefined);
      return { folder, size: stat?.size ?? 0 };
    }),
  );
  sized.sort((a, b) => b.size - a.size);
  let taken = false;
  for (const { folder } of sized) {
    if (taken) await fs.rm(folder, { recursive: true, force: true });
    else
      taken = await fs.rename(folder, own).then(
        () => true,
        () => false, // another process was faster
      );
  }
  return taken;
}

async function readNote(path: string, fs: Fs): Promise<{ source?: PartSource; synced: number }> {
  try {
    const json = parseJson(await fs.readFile(path, "utf8"), path);
    if (!(json instanceof Map) || json.get("format") !== FORMAT) return { synced: 0 };
    const [url, size, etag, sha256, synced] = ["url", "size", "etag", "sha256", "synced"].map(
      (key) => json.get(key),
    );
    if (typeof url !== "string" || !Number.isSafeInteger(synced)) return { synced: 0 };
    const source = {
      url,
      size: Number.isSafeInteger(size) ? (size as number) : undefined,
      etag: typeof etag === "string" ? etag : undefined,
      sha256: isSha256(sha256) ? sha256 : undefined,
    };
    return { source, synced: synced as number };
  } catch {
    return { synced: 0 }; // none, or half of one: the part begins anew
  }
}

async function syncFolder(folder: string, fs: Fs): Promise<void> {
  try {
    const directory = await fs.open(folder, "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  } catch (error) {
    // Windows cannot sync folders; elsewhere it matters.
    if (process.platform !== "win32") throw error;
  }
}
