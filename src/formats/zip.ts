/** A strict zip reader for one purpose: archives that have exactly one reading. It writes none. */

import { type ByteSource, checkedUtf8, readRange, viewOf } from "./bytes.ts";
import { crc32 } from "./crc32.ts";
import { inflate } from "./deflate.ts";
import { InputError } from "./errors.ts";

export interface ZipEntry {
  readonly name: string;
  readonly method: "stored" | "deflate";
  readonly crc: number;
  /** Bytes in the archive, and bytes after inflating. */
  readonly packed: number;
  readonly size: number;
  /** Where the packed bytes start in the file. */
  readonly offset: number;
}

export type ZipEntries = ReadonlyMap<string, ZipEntry>;

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const DESCRIPTOR = 0x08074b50;

const METHODS: ReadonlyMap<number, ZipEntry["method"]> = new Map([
  [0, "stored"],
  [8, "deflate"],
]);
/** Descriptor, UTF-8 name, and the two level bits of deflate. Encryption and patches are refused. */
const FLAGS = 0x0808 | 0x0006;
const HAS_DESCRIPTOR = 0x0008;
const MAX32 = 0xffffffff;
const MAX16 = 0xffff;
const MAX_DIRECTORY = 64 * 2 ** 20;

const refuse = (why: string, data: Record<string, unknown> = {}): never => {
  throw new InputError(`zip: ${why}`, data);
};

function u64(view: DataView, at: number): number {
  const value = view.getBigUint64(at, true);
  return value > BigInt(Number.MAX_SAFE_INTEGER)
    ? refuse(`a size is ${value} bytes`)
    : Number(value);
}

interface Directory {
  readonly count: number;
  readonly offset: number;
  readonly size: number;
}

/** Reads the end record(s). The directory must end where they begin, and they at the end of file. */
async function readEnd(source: ByteSource): Promise<Directory> {
  const tail = await readRange(source, "zip", {
    offset: Math.max(0, source.size - 98),
    length: Math.min(98, source.size),
  });
  const view = viewOf(tail);
  const at = tail.length - 22;
  if (at < 0 || view.getUint32(at, true) !== END)
    return refuse("the file does not end with a directory; it is truncated, or bytes follow it");
  const u16 = (o: number) => view.getUint16(at + o, true);
  const u32 = (o: number) => view.getUint32(at + o, true);
  if (u16(4) !== 0 || u16(6) !== 0) refuse("the archive spans several disks");
  if (u16(20) !== 0) refuse("the archive has a comment");
  let directory: Directory = { count: u16(10), size: u32(12), offset: u32(16) };
  if (u16(8) !== u16(10)) refuse("the two entry counts differ");
  let end = source.size - 22;
  if (at >= 20 && view.getUint32(at - 20, true) === LOCATOR64) {
    const at64 = at - 76;
    if (at64 < 0 || view.getUint32(at64, true) !== END64 || u64(view, at64 + 4) !== 44)
      return refuse("the zip64 end record is missing or of unknown length");
    end = source.size - 98;
    if (u64(view, at - 20 + 8) !== end || view.getUint32(at - 16, true) !== 0)
      refuse("the zip64 locator points elsewhere");
    if (view.getUint32(at64 + 16, true) !== 0 || view.getUint32(at64 + 20, true) !== 0)
      refuse("the archive spans several disks");
    const wide = {
      count: u64(view, at64 + 32),
      size: u64(view, at64 + 40),
      offset: u64(view, at64 + 48),
    };
    if (u64(view, at64 + 24) !== wide.count) refuse("the two entry counts differ");
    const agrees = (narrow: number, value: number, max: number) =>
      narrow === max || narrow === value;
    if (
      !agrees(directory.count, wide.count, MAX16) ||
      !agrees(directory.size, wide.size, MAX32) ||
      !agrees(directory.offset, wide.offset, MAX32)
    )
      refuse("the two end records disagree");
    directory = wide;
  }
  if (directory.offset + directory.size !== end)
    refuse(
      `the directory says it ends at byte ${directory.offset + directory.size}, the end record starts at ${end}; something stands before or inside the archive`,
    );
  if (directory.size > MAX_DIRECTORY || directory.count * 46 > directory.size)
    refuse(`a directory of ${directory.size} bytes cannot hold ${directory.count} entries`);
  return directory;
}

interface Header {
  readonly flags: number;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  readonly name: Uint8Array;
}

/** The zip64 fields of an extra field: those whose 32-bit twin is full, in fixed order. */
function widen(extra: Uint8Array, fields: number[]): number[] {
  const view = viewOf(extra);
  let wide: { at: number; end: number } | undefined;
  for (let at = 0; at < extra.length; ) {
    // Fewer than four bytes are padding; so is everything that is not zip64.
    if (extra.length - at < 4) break;
    const length = view.getUint16(at + 2, true);
    if (length > extra.length - at - 4) refuse("an extra field is longer than its room");
    if (view.getUint16(at, true) === 1) {
      if (wide) refuse("an entry has two zip64 fields");
      wide = { at: at + 4, end: at + 4 + length };
    }
    at += 4 + length;
  }
  return fields.map((value) => {
    if (value !== MAX32) return value;
    if (!wide || wide.end - wide.at < 8) return refuse("an entry lacks its zip64 size");
    wide.at += 8;
    return u64(view, wide.at - 8);
  });
}

function checkName(bytes: Uint8Array): string {
  const name = checkedUtf8("zip: an entry name", bytes);
  const isPlain = name
    .split("/")
    .every((part) => part !== "" && part !== "." && part !== ".." && !/[\\:\p{Cc}]/u.test(part));
  return isPlain
    ? name
    : refuse(`the entry name ${JSON.stringify(name)} is not a plain relative path`, { name });
}

interface Listed extends Header {
  readonly text: string;
  readonly localOffset: number;
}

function readDirectory(bytes: Uint8Array, { count }: Directory): Listed[] {
  const view = viewOf(bytes);
  const entries: Listed[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (bytes.length - at < 46 || view.getUint32(at, true) !== CENTRAL)
      refuse(`directory entry ${i} of ${count} is missing`);
    const u16 = (o: number) => view.getUint16(at + o, true);
    const u32 = (o: number) => view.getUint32(at + o, true);
    const [nameLength, extraLength, commentLength] = [u16(28), u16(30), u16(32)];
    const end = at + 46 + nameLength + extraLength + commentLength;
    if (end > bytes.length) refuse(`directory entry ${i} reaches past the directory`);
    const name = bytes.subarray(at + 46, at + 46 + nameLength);
    const text = checkName(name);
    const extra = bytes.subarray(at + 46 + nameLength, end - commentLength);
    const [size, packed, localOffset] = widen(extra, [u32(24), u32(20), u32(42)]);
    const mode = u32(38) >>> 28; // file type of Unix attributes; 8 is a regular file, 0 unknown
    if ((mode !== 0 && mode !== 8) || u32(38) & 0x10)
      refuse(`${JSON.stringify(text)} is a link, a folder or a device`, { name: text });
    if (u16(34) !== 0 && u16(34) !== MAX16) refuse("the archive spans several disks");
    entries.push({
      text,
      name,
      flags: u16(8),
      method: u16(10),
      crc: u32(16),
      packed: packed!,
      size: size!,
      localOffset: localOffset!,
    });
    at = end;
  }
  if (at !== bytes.length) refuse("bytes follow the last directory entry");
  return entries;
}

const same = (a: Uint8Array, b: Uint8Array) =>
  a.length === b.length && a.every((x, i) => x === b[i]);

/** The data descriptor after an entry's data, if its flag is set; its length, after comparing. */
async function checkDescriptor(
  source: ByteSource,
  listed: Listed,
  { at, length }: { at: number; length: number },
): Promise<void> {
  const wanted = listed.flags & HAS_DESCRIPTOR ? [16, 24] : [0];
  if (!wanted.includes(length))
    refuse(`${length} bytes stand after ${JSON.stringify(listed.text)} that belong to no entry`);
  if (length === 0) return;
  const view = viewOf(await readRange(source, "zip", { offset: at, length }));
  const [packed, size] =
    length === 16
      ? [view.getUint32(8, true), view.getUint32(12, true)]
      : [u64(view, 8), u64(view, 16)];
  if (
    view.getUint32(0, true) !== DESCRIPTOR ||
    view.getUint32(4, true) !== listed.crc ||
    packed !== listed.packed ||
    size !== listed.size
  )
    refuse(`${JSON.stringify(listed.text)} is described differently after its data`);
}

/** Compares an entry's local header with the directory; returns where its data starts. */
async function checkLocal(source: ByteSource, listed: Listed, end: number): Promise<number> {
  const what = JSON.stringify(listed.text);
  const offset = listed.localOffset;
  const room = Math.min(end - offset, 30 + 2 * MAX16);
  if (room < 30) refuse(`${what} overlaps its neighbour`);
  const fixed = viewOf(await readRange(source, "zip", { offset, length: 30 }));
  const u16 = (o: number) => fixed.getUint16(o, true);
  const u32 = (o: number) => fixed.getUint32(o, true);
  const [nameLength, extraLength] = [u16(26), u16(28)];
  if (u32(0) !== LOCAL || 30 + nameLength + extraLength > room)
    refuse(`${what} has no local header where the directory says`);
  const rest = await readRange(source, "zip", {
    offset: offset + 30,
    length: nameLength + extraLength,
  });
  // With a descriptor, the local header may leave crc and sizes zero; or say them all the same.
  const later = (listed.flags & HAS_DESCRIPTOR) !== 0;
  const [size, packed] = widen(rest.subarray(nameLength), [u32(22), u32(18)]);
  const agrees = (local: number, central: number) => local === central || (later && local === 0);
  if (
    !same(rest.subarray(0, nameLength), listed.name) ||
    u16(6) !== listed.flags ||
    u16(8) !== listed.method ||
    !agrees(u32(14), listed.crc) ||
    !agrees(packed!, listed.packed) ||
    !agrees(size!, listed.size)
  )
    refuse(`${what}: local header and directory disagree on name, flags, method, crc or size`);
  return offset + 30 + nameLength + extraLength;
}

function checkKind(listed: Listed): ZipEntry["method"] {
  const what = JSON.stringify(listed.text);
  if (listed.flags & ~FLAGS)
    refuse(`${what} has the flags 0x${listed.flags.toString(16)}: encrypted or unknown`);
  const method = METHODS.get(listed.method);
  if (!method)
    return refuse(`${what} is packed by method ${listed.method}; known: stored, deflate`);
  if (method === "stored" && listed.packed !== listed.size)
    refuse(`${what} is stored, but its two sizes are ${listed.packed} and ${listed.size}`);
  return method;
}

/**
 * Lists an archive after checking that it has one reading only: directory and local headers agree,
 * entries tile the file from its first byte to the directory, no name comes twice (not even in
 * another case), nothing is a link or leaves the folder, and nothing inflates beyond the limits.
 * @param maxRatio inflated to packed bytes of one entry larger than 1 MiB.
 * @param maxInflated bytes of all deflated entries together.
 */
export async function readZip(
  source: ByteSource,
  { maxEntries = 200_000, maxRatio = 100, maxInflated = 4 * 2 ** 30 } = {},
): Promise<ZipEntries> {
  const directory = await readEnd(source);
  if (directory.count > maxEntries) refuse(`${directory.count} entries, allowed are ${maxEntries}`);
  const range = { offset: directory.offset, length: directory.size };
  const listed = readDirectory(await readRange(source, "zip", range), directory);
  listed.sort((a, b) => a.localOffset - b.localOffset);
  const entries = new Map<string, ZipEntry>();
  const lowered = new Set<string>();
  let inflated = 0;
  if ((listed[0]?.localOffset ?? directory.offset) !== 0)
    refuse("bytes stand before the first entry");
  for (const [i, entry] of listed.entries()) {
    const { text: name, crc, packed, size } = entry;
    if (lowered.has(name.toLowerCase())) refuse(`${JSON.stringify(name)} stands twice`, { name });
    lowered.add(name.toLowerCase());
    const method = checkKind(entry);
    if (method === "deflate") inflated += size;
    if (inflated > maxInflated || (size > 2 ** 20 && size > packed * maxRatio))
      refuse(`${JSON.stringify(name)} inflates from ${packed} to ${size} bytes: a bomb`, { name });
    const end = listed[i + 1]?.localOffset ?? directory.offset;
    const offset = await checkLocal(source, entry, end);
    if (packed > end - offset) refuse(`${JSON.stringify(name)} overlaps its neighbour`, { name });
    const at = offset + packed;
    await checkDescriptor(source, entry, { at, length: end - at });
    entries.set(name, { name, method, crc, packed, size, offset });
  }
  return entries;
}

/** CRC-32 of bytes that follow those of `seed`. */
export type Crc32 = (bytes: Uint8Array, seed: number) => number;

const PIECE = 2 ** 20;

/** Compares an entry's CRC with its bytes, a piece at a time: an entry of any size takes little memory. */
export async function checkZipEntry(
  source: ByteSource,
  entry: ZipEntry,
  { crc = crc32 }: { crc?: Crc32 } = {},
): Promise<void> {
  if (entry.method !== "stored") {
    await readZipEntry(source, entry);
    return;
  }
  const what = `zip: ${JSON.stringify(entry.name)}`;
  let sum = 0;
  for (let at = 0; at < entry.size; at += PIECE) {
    const length = Math.min(PIECE, entry.size - at);
    sum = crc(await readRange(source, what, { offset: entry.offset + at, length }), sum);
  }
  if (sum !== entry.crc) damaged(what, sum, entry.crc);
}

function damaged(what: string, got: number, wanted: number): never {
  throw new InputError(`${what}: the CRC is ${got}, wanted ${wanted}; the file is damaged`);
}

/** The bytes of one entry, after its CRC has been checked. */
export async function readZipEntry(source: ByteSource, entry: ZipEntry): Promise<Uint8Array> {
  const what = `zip: ${JSON.stringify(entry.name)}`;
  const packed = await readRange(source, what, { offset: entry.offset, length: entry.packed });
  const bytes =
    entry.method === "stored"
      ? packed
      : await inflate(what, packed, { format: "deflate-raw", maxBytes: entry.size, exact: true });
  const crc = crc32(bytes);
  if (crc !== entry.crc) damaged(what, crc, entry.crc);
  return bytes;
}
