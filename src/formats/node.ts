/** Files on disk for Node: reading by range, finding a format by its content, writing atomically. */

import type { FileHandle, open, rename, rm } from "node:fs/promises";
import { node } from "./builtins.node.ts";
import { type ByteSource, readRange, viewOf } from "./bytes.ts";
import type { TensorMap } from "./dtype.ts";
import { InputError } from "./errors.ts";
import { readPth } from "./pth.ts";
import { readSafetensors } from "./safetensors.ts";
import { readSafetensorsIndex, readShardedSafetensors } from "./safetensors-index.ts";

/** A file read by range. Close it when done; `await using` does so. */
export interface FileSource extends ByteSource {
  readonly path: string;
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
    size: stat.size,
    read: (offset, length) => readFully(file, offset, length),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Tensors of a checkpoint, whatever its format. */
export interface TensorFile {
  readonly format: "safetensors" | "safetensors-index" | "pth";
  readonly tensors: TensorMap;
  readonly metadata: Readonly<Record<string, string>>;
}

const isBlankOrBrace = (b: number | undefined) =>
  b === 0x7b || b === 0x20 || b === 0x0a || b === 0x0d;

async function readSharded(source: FileSource, bytes: Uint8Array): Promise<TensorFile> {
  const shards: FileSource[] = [];
  try {
    const { tensors, metadata } = await readShardedSafetensors(
      readSafetensorsIndex(bytes),
      async (file) => {
        const shard = await openFile(node.path.join(node.path.dirname(source.path), file));
        shards.push(shard);
        return shard;
      },
    );
    return { format: "safetensors-index", tensors, metadata };
  } finally {
    for (const shard of shards) await shard.close();
  }
}

/**
 * Reads all tensors of a checkpoint; the format is told by the content, never by the name:
 * safetensors, a safetensors index (its shards lie beside it), or PyTorch zip and legacy.
 * Of a .pth with nested state the names are paths, keys joined with dots.
 * @throws InputError, the path first.
 */
export async function readTensorFile(path: string): Promise<TensorFile> {
  const source = await openFile(path);
  try {
    const length = Math.min(source.size, 9);
    const head = await readRange(source, "the file", { offset: 0, length });
    const whole = () => readRange(source, "the file", { offset: 0, length: source.size });
    // safetensors: a header length below 2^40, then a brace. An index begins with one.
    if (length === 9 && head[8] === 0x7b && viewOf(head).getBigUint64(0, true) < 2n ** 40n)
      return { format: "safetensors", ...readSafetensors(await whole()) };
    if (isBlankOrBrace(head[0])) return await readSharded(source, await whole());
    return { format: "pth", tensors: (await readPth(source)).tensors, metadata: {} };
  } catch (error) {
    if (error instanceof InputError) throw new InputError(`${path}: ${error.message}`, error.data);
    throw error;
  } finally {
    await source.close();
  }
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
 * @param bytes the content, or its pieces in order (large files need no joined copy).
 */
export async function writeFileAtomic(
  path: string,
  bytes: Uint8Array | readonly Uint8Array[],
  { fs = node.fs }: { fs?: WriteFs } = {},
): Promise<void> {
  const { basename, dirname, join } = node.path;
  const folder = dirname(path);
  const aside = join(folder, `.${basename(path)}.${process.pid}-${writes++}.tmp`);
  try {
    const file = await fs.open(aside, "w", 0o644);
    try {
      for (const part of bytes instanceof Uint8Array ? [bytes] : bytes)
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
