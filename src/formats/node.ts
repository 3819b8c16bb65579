/** Files on disk for Node: reading by range, finding a format by its content, writing atomically. */

import type { FileHandle, open, rename, rm } from "node:fs/promises";
import { node } from "./builtins.node.ts";
import { type ByteSource, readRange, viewOf } from "./bytes.ts";
import type { TensorMap } from "./dtype.ts";
import { InputError } from "./errors.ts";
import type { WeightMap } from "./lazy.ts";
import { lazyPth, readPth } from "./pth.ts";
import { lazySafetensors, readSafetensors, readSafetensorsHeader } from "./safetensors.ts";
import {
  lazyShardedSafetensors,
  readSafetensorsIndex,
  readShardedSafetensors,
} from "./safetensors-index.ts";

/** A file read by range. Close it when done; `await using` does so. */
export interface FileSource extends ByteSource {
  readonly path: string;
  /** Place on disk, size and time of change: another once the content is. */
  readonly key: string;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "reading it is not permitted",
  EISDIR: "it is a folder",
};

async function readFully(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let at = 0;
  while (at < length) {
    // At most 1 GiB a call: one read of 2 GiB and more is an error on Linux.
    const { bytesRead } = await file.read(bytes, at, Math.min(length - at, 2 ** 30), offset + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}

/** Opens a file for reading by range. @throws InputError when it is missing or no plain file. */
export async function openFile(path: string): Promise<FileSource> {
  const { open } = node.fs;
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    throw new InputError(`${path}: ${REASONS[code] ?? `cannot be opened (${code})`}`, {
      path,
      code,
    });
  }
  const stat = await file.stat();
  if (!stat.isFile()) {
    await file.close();
    throw new InputError(`${path}: it is not a plain file`, { path });
  }
  const close = () => file.close();
  return {
    path,
    key: `${stat.dev}:${stat.ino} ${stat.size} ${stat.mtimeMs}`,
    size: stat.size,
    read: (offset, length) => readFully(file, offset, length),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Opens a file once more. @throws InputError when its key is another than it was */
export async function openUnchanged(path: string, key: string): Promise<FileSource> {
  const file = await openFile(path);
  if (file.key === key) return file;
  await file.close();
  throw new InputError(`${path}: the file changed since it was opened; open it again`, { path });
}

/** A file that is opened for each reading: there is nothing to close. */
export interface FileByPath extends ByteSource {
  readonly path: string;
  readonly key: string;
  /** Opens the file once for all readings of `body`. */
  whileOpen<T>(body: () => Promise<T>): Promise<T>;
}

/**
 * A file by its real path. Reading throws InputError once the file is not the one it was: another size, time of change
 * or file under the same name.
 */
export async function fileByPath(path: string): Promise<FileByPath> {
  const first = await openFile(path);
  await first.close();
  const real = await node.fs.realpath(path);
  let held: FileSource | undefined;
  const reopen = () => openUnchanged(real, first.key);
  const whileOpen = async <T>(body: () => Promise<T>): Promise<T> => {
    const file = await reopen();
    held = file;
    try {
      return await body();
    } finally {
      held = undefined;
      await file.close();
    }
  };
  return {
    path: real,
    size: first.size,
    key: first.key,
    read: async (offset, length) => {
      if (held) return held.read(offset, length);
      const file = await reopen();
      try {
        return await file.read(offset, length);
      } finally {
        await file.close();
      }
    },
    whileOpen,
  };
}

/** Tensors of a checkpoint, whatever its format. */
export interface TensorFile {
  readonly format: "safetensors" | "safetensors-index" | "pth";
  readonly tensors: TensorMap;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The same, with tensors that are read when they are needed. */
export interface LazyTensorFile {
  readonly format: TensorFile["format"];
  readonly tensors: WeightMap;
  readonly metadata: Readonly<Record<string, string>>;
}

const isBlankOrBrace = (b: number | undefined) =>
  b === 0x7b || b === 0x20 || b === 0x0a || b === 0x0d;

/** A file's format by its content. */
async function formatOf(source: ByteSource): Promise<TensorFile["format"]> {
  const length = Math.min(source.size, 9);
  const head = await readRange(source, "the file", { offset: 0, length });
  // safetensors: a header length below 2^40, then a brace. An index begins with one.
  if (length === 9 && head[8] === 0x7b && viewOf(head).getBigUint64(0, true) < 2n ** 40n)
    return "safetensors";
  return isBlankOrBrace(head[0]) ? "safetensors-index" : "pth";
}

const wholeFile = (source: ByteSource): Promise<Uint8Array> =>
  readRange(source, "the file", { offset: 0, length: source.size });

const beside = (path: string, file: string): string =>
  node.path.join(node.path.dirname(path), file);

async function readSharded(source: FileSource): Promise<TensorFile> {
  const shards: FileSource[] = [];
  try {
    const index = readSafetensorsIndex(await wholeFile(source));
    const { tensors, metadata } = await readShardedSafetensors(index, async (file) => {
      const shard = await openFile(beside(source.path, file));
      shards.push(shard);
      return shard;
    });
    return { format: "safetensors-index", tensors, metadata };
  } finally {
    for (const shard of shards) await shard.close();
  }
}

/** Errors about a file begin with its path. */
async function naming<T>(path: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (error instanceof InputError && !error.message.startsWith(path))
      throw new InputError(`${path}: ${error.message}`, error.data);
    throw error;
  }
}

const READ: Readonly<Record<TensorFile["format"], (source: FileSource) => Promise<TensorFile>>> = {
  safetensors: async (source) => ({
    format: "safetensors",
    ...readSafetensors(await wholeFile(source)),
  }),
  "safetensors-index": readSharded,
  pth: async (source) => ({
    format: "pth",
    tensors: (await readPth(source)).tensors,
    metadata: {},
  }),
};

/**
 * Reads all tensors of a checkpoint; the format is told by the content, never by the name:
 * safetensors, a safetensors index (its shards lie beside it), or PyTorch zip and legacy.
 * Of a .pth with nested state the names are paths, keys joined with dots.
 * @throws InputError, the path first.
 */
export async function readTensorFile(path: string): Promise<TensorFile> {
  const source = await openFile(path);
  try {
    return await naming(path, async () => READ[await formatOf(source)](source));
  } finally {
    await source.close();
  }
}

type OpenLazily = (source: FileByPath, options: { verify: boolean }) => Promise<LazyTensorFile>;

const OPEN: Readonly<Record<TensorFile["format"], OpenLazily>> = {
  safetensors: async (source) => {
    const header = await readSafetensorsHeader(source);
    const tensors = lazySafetensors(source, header);
    return { format: "safetensors", tensors, metadata: header.metadata };
  },
  "safetensors-index": async (source) => {
    const index = readSafetensorsIndex(await wholeFile(source));
    const open = (file: string) => fileByPath(beside(source.path, file));
    return { format: "safetensors-index", ...(await lazyShardedSafetensors(index, open)) };
  },
  pth: async (source, { verify }) => {
    const { tensors } = await lazyPth(source, { verify, crc: node.zlib.crc32 });
    return { format: "pth", tensors, metadata: {} };
  },
};

/**
 * As `readTensorFile`, but the data of a tensor is read when it is needed: what is in memory does not grow with the
 * file, which must stay as it is meanwhile. Names, types, shapes, directories and pickles are checked now.
 * @param options.verify compares the CRCs that a .pth has with its data now, reading it once; default true
 * @throws InputError, the path first.
 */
export async function openTensorFile(
  path: string,
  { verify = true }: { verify?: boolean } = {},
): Promise<LazyTensorFile> {
  const source = await fileByPath(path);
  return source.whileOpen(() =>
    naming(path, async () => OPEN[await formatOf(source)](source, { verify })),
  );
}

/** What writing needs of a file system; tests put faults into it. */
export interface WriteFs {
  open: typeof open;
  rename: typeof rename;
  rm: typeof rm;
}

/** Tells writes of this process apart; a leftover of a killed one with our number is overwritten. */
let writes = 0;

/**
 * Writes a file so that after a crash, a kill or a full disk either the old or the new content is
 * there, whole: into a new file beside it, fsync, rename, fsync of the folder. On failure the new
 * file is removed and the old one is as it was.
 * @param bytes the content, or its pieces in order (large files need no joined copy), made while it is written.
 * @param options.folderSync false where another file is about to be written so in the same folder: its sync makes both
 * names survive a power cut. Default true.
 */
export async function writeFileAtomic(
  path: string,
  bytes: Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  { fs = node.fs, folderSync = true }: { fs?: WriteFs; folderSync?: boolean } = {},
): Promise<void> {
  const { basename, dirname, join } = node.path;
  const folder = dirname(path);
  const aside = join(folder, `.${basename(path)}.${process.pid}-${writes++}.tmp`);
  try {
    const file = await fs.open(aside, "w", 0o644);
    try {
      for await (const part of bytes instanceof Uint8Array ? [bytes] : bytes)
        await writeFully(file, part);
      await file.sync();
    } finally {
      await file.close();
    }
    await fs.rename(aside, path);
  } catch (error) {
    await fs.rm(aside, { force: true });
    throw error;
  }
  if (!folderSync) return;
  // Only now does the new name itself survive a power cut.
  const directory = await fs.open(folder, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

async function writeFully(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, Math.min(bytes.length - at, 2 ** 30));
    at += bytesWritten;
  }
}
