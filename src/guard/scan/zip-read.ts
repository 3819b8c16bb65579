/** Every reading of a zip archive that some reader might have, and where they differ. The strict reader is in formats/. */

import { type ByteSource, indexOf, looseText, viewOf } from "./bytes.ts";
import { peek } from "./part.ts";
import { readEnd, u64, type ZipNote } from "./zip-end.ts";

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const DESCRIPTOR = 0x08074b50;
const MAX32 = 0xffffffff;
const HAS_DESCRIPTOR = 0x0008;
/** Descriptor, level bits of deflate, UTF-8. */
const KNOWN_FLAGS = 0x080e;
/** Directories are held in memory. */
const MAX_DIRECTORY = 32 * 2 ** 20;

/** A member as one of the readings has it. */
export interface Member {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  /** Where its packed bytes start. */
  readonly offset: number;
  /** Where its local header starts. */
  readonly header: number;
  readonly flags: number;
  readonly isFolder: boolean;
}

/** Something that readers see differently, or that no writer of models makes. */
export interface Oddity {
  readonly rule: string;
  readonly at: number;
  readonly effect: string;
  readonly why: string;
}

export interface Archive {
  readonly members: readonly Member[];
  readonly oddities: readonly Oddity[];
  /** Ranges that belong to no member: hidden members, or the head or tail of another file. */
  readonly gaps: readonly { readonly offset: number; readonly length: number }[];
  /** Why nothing could be read at all. */
  readonly fault: string | undefined;
}

const HIDES = "shows one content to checkers and another to loaders";

interface Listed {
  readonly at: number;
  readonly name: string;
  readonly raw: Uint8Array;
  readonly flags: number;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  readonly header: number;
  readonly mode: number;
  readonly dos: number;
}

/** zip64 sizes from an extra field, in the order of the fields that are full. */
function widen(extra: Uint8Array, fields: number[]): number[] {
  const view = viewOf(extra);
  for (let at = 0; at + 4 <= extra.length; ) {
    const length = view.getUint16(at + 2, true);
    if (view.getUint16(at, true) === 1) {
      let from = at + 4;
      return fields.map((value) => {
        if (value !== MAX32 || from + 8 > Math.min(at + 4 + length, extra.length)) return value;
        from += 8;
        return u64(view, from - 8);
      });
    }
    at += 4 + length;
  }
  return fields;
}

/** Entries of a directory; stops at the first that is none. */
function readDirectory(bytes: Uint8Array, base: number): Listed[] {
  const view = viewOf(bytes);
  const entries: Listed[] = [];
  for (let at = 0; at + 46 <= bytes.length && view.getUint32(at, true) === CENTRAL; ) {
    const u16 = (o: number) => view.getUint16(at + o, true);
    const u32 = (o: number) => view.getUint32(at + o, true);
    const end = at + 46 + u16(28) + u16(30) + u16(32);
    const raw = bytes.subarray(at + 46, at + 46 + u16(28));
    const extra = bytes.subarray(at + 46 + u16(28), Math.min(end - u16(32), bytes.length));
    const [size, packed, header] = widen(extra, [u32(24), u32(20), u32(42)]);
    entries.push({
      at: base + at,
      name: looseText(raw),
      raw,
      flags: u16(8),
      method: u16(10),
      crc: u32(16),
      packed: packed!,
      size: size!,
      header: header!,
      mode: u32(38) >>> 28,
      dos: u32(38) & 0xff,
    });
    at = end;
  }
  return entries;
}

interface LocalHeader {
  readonly name: string;
  readonly flags: number;
  readonly method: number;
  readonly crc: number;
  readonly packed: number;
  readonly size: number;
  readonly data: number;
}

async function readLocal(source: ByteSource, at: number): Promise<LocalHeader | undefined> {
  const head = await peek(source, at, 30);
  if (head.length < 30 || viewOf(head).getUint32(0, true) !== LOCAL) return undefined;
  const view = viewOf(head);
  const [nameLength, extraLength] = [view.getUint16(26, true), view.getUint16(28, true)];
  const rest = await peek(source, at + 30, nameLength + extraLength);
  const fields = [view.getUint32(22, true), view.getUint32(18, true)];
  const [size, packed] = widen(rest.subarray(nameLength), fields);
  return {
    name: looseText(rest.subarray(0, nameLength)),
    flags: view.getUint16(6, true),
    method: view.getUint16(8, true),
    crc: view.getUint32(14, true),
    packed: packed!,
    size: size!,
    data: at + 30 + nameLength + extraLength,
  };
}

/** What is wrong with a name, if anything. */
export function badName(name: string): string | undefined {
  if (/\0/.test(name)) return "holds a NUL, where some readers end it";
  if (/\\/.test(name)) return "holds a backslash, which is a separator on Windows";
  if (/^[A-Za-z]:/.test(name)) return "names a drive";
  if (name.startsWith("/")) return "is an absolute path";
  if (name.split("/").includes("..")) return "leaves the folder";
  if (name === "") return "is empty";
  return undefined;
}

const WRITES = "writes outside of the folder it is unpacked to";

function checkListed(entry: Listed, seen: Map<string, string>, note: ZipNote): void {
  const what = JSON.stringify(entry.name.slice(0, 120));
  const bad = badName(entry.name);
  if (bad) note("zip-name", entry.at, `the name ${what} ${bad}`, WRITES);
  const before = seen.get(entry.name.toLowerCase());
  if (before !== undefined)
    note(
      "zip-duplicate",
      entry.at,
      before === entry.name ? `${what} stands twice` : `${what} differs only in case from another`,
    );
  seen.set(entry.name.toLowerCase(), entry.name);
  if (entry.flags & ~KNOWN_FLAGS)
    note(
      "zip-flags",
      entry.at,
      `${what} has the flags 0x${entry.flags.toString(16)}: encrypted or unknown`,
    );
  // Unix file types: 4 folder, 8 file, 10 link; 0 unknown.
  const folder = entry.name.endsWith("/");
  const plain = folder ? [0, 4] : [0, 8];
  if (!plain.includes(entry.mode))
    note(
      "zip-attributes",
      entry.at,
      `${what} says it is a ${entry.mode === 10 ? "link" : "folder or device"}`,
      entry.mode === 10 ? WRITES : HIDES,
    );
  if (!folder && entry.dos & 0x10) note("zip-attributes", entry.at, `${what} says it is a folder`);
  if (folder && entry.size > 0) note("zip-attributes", entry.at, `the folder ${what} has content`);
}

/** Compares a listed entry with its local header. */
function checkLocal(entry: Listed, local: LocalHeader, note: ZipNote): void {
  const what = JSON.stringify(entry.name.slice(0, 120));
  const differ = (field: string, here: unknown, there: unknown) =>
    note(
      "zip-local",
      entry.header,
      `${what}: ${field} is ${String(here).slice(0, 80)} in its header and ${String(there).slice(0, 80)} in the directory`,
    );
  const later = (local.flags & HAS_DESCRIPTOR) !== 0;
  const agrees = (here: number, there: number) =>
    here === there || (later && (here === 0 || here === MAX32));
  if (local.name !== entry.name) differ("the name", JSON.stringify(local.name), what);
  if (local.method !== entry.method) differ("the method", local.method, entry.method);
  if (local.flags !== entry.flags) differ("the flags", local.flags, entry.flags);
  if (!agrees(local.crc, entry.crc)) differ("the CRC", local.crc, entry.crc);
  if (!agrees(local.packed, entry.packed)) differ("the packed size", local.packed, entry.packed);
  if (!agrees(local.size, entry.size)) differ("the size", local.size, entry.size);
  if (entry.method === 0 && entry.packed !== entry.size)
    differ("the stored size", entry.packed, entry.size);
}

/** Bytes of a data descriptor after an entry. */
async function descriptorLength(source: ByteSource, entry: Listed, at: number): Promise<number> {
  if (!(entry.flags & HAS_DESCRIPTOR)) return 0;
  const raw = await peek(source, at, 24);
  if (raw.length >= 16 && viewOf(raw).getUint32(0, true) === DESCRIPTOR) {
    const view = viewOf(raw);
    const wide = raw.length >= 24 && u64(view, 8) === entry.packed && u64(view, 16) === entry.size;
    const narrow =
      view.getUint32(8, true) === entry.packed && view.getUint32(12, true) === entry.size;
    // Both fit only when the sizes are zero; the shorter is what writers write then.
    return narrow || !wide ? 16 : 24;
  }
  if (raw.length >= 12 && viewOf(raw).getUint32(0, true) === entry.crc) return 12;
  return 0;
}

/**
 * Reads what can be read. Every byte is accounted for: members, directory, end records; the rest are gaps.
 */
export async function readArchive(source: ByteSource): Promise<Archive> {
  const oddities: Oddity[] = [];
  const note: ZipNote = (rule, at, why, effect = HIDES) =>
    void oddities.push({ rule, at, why, effect });
  const end = await readEnd(source, note);
  const whole = [{ offset: 0, length: source.size }];
  if (!end) return { members: [], oddities, gaps: whole, fault: "there is no end record" };
  // Where a prefix stands before the archive, its offsets are short by the prefix.
  const shift = end.at - (end.offset + end.size);
  let from = end.offset;
  let head = await peek(source, from, 4);
  const isDirectory = (b: Uint8Array) => b.length === 4 && viewOf(b).getUint32(0, true) === CENTRAL;
  if (shift !== 0 && !(end.size === 0 && end.count === 0)) {
    const moved = await peek(source, end.offset + shift, 4);
    const far = shift === 76 || shift === 20 ? isDirectory(head) : false; // zip64 records between
    if (!far) {
      note(
        "zip-offset",
        end.at,
        `the directory is ${Math.abs(shift)} bytes from where the end record says`,
      );
      if (isDirectory(moved)) {
        from = end.offset + shift;
        head = moved;
      }
    }
  }
  const moved = from - end.offset;
  const length = Math.min(Math.max(0, end.at - from), MAX_DIRECTORY);
  const listed = isDirectory(head) ? readDirectory(await peek(source, from, length), from) : [];
  if (listed.length !== end.count)
    note(
      "zip-count",
      end.at,
      `the end record says ${end.count} entries, the directory has ${listed.length}`,
    );
  const seen = new Map<string, string>();
  const members: Member[] = [];
  const used: [from: number, to: number][] = [
    [listed.length > 0 ? Math.min(from, end.at) : end.at, source.size],
  ];
  for (const entry of listed) {
    checkListed(entry, seen, note);
    const header = entry.header + moved;
    const local = await readLocal(source, header);
    if (!local) {
      note(
        "zip-local",
        entry.at,
        `${JSON.stringify(entry.name.slice(0, 120))} has no local header where the directory says`,
      );
      continue;
    }
    checkLocal(entry, local, note);
    const { name, method, crc, packed, size, flags } = entry;
    members.push({
      name,
      method,
      crc,
      packed,
      size,
      offset: local.data,
      header,
      flags,
      isFolder: name.endsWith("/"),
    });
    // Its header may tell of other bytes: those are scanned as well.
    const other =
      local.method !== method ||
      (local.packed !== packed && local.packed !== 0 && local.packed !== MAX32);
    if (other) members.push({ ...local, offset: local.data, header, isFolder: false });
    const to = local.data + packed;
    used.push([header, Math.min(source.size, to + (await descriptorLength(source, entry, to)))]);
  }
  const gaps = gapsOf(used, source.size, note);
  return { members, oddities, gaps, fault: undefined };
}

function gapsOf(used: [number, number][], size: number, note: ZipNote) {
  used.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const gaps: { offset: number; length: number }[] = [];
  let at = 0;
  for (const [from, to] of used) {
    if (from > at) gaps.push({ offset: at, length: from - at });
    else if (from < at && to > from) {
      const inside = at >= size ? "reach into the directory" : "overlap";
      note(
        "zip-overlap",
        from,
        `two entries ${inside}`,
        "is a bomb, or shows other content to other readers",
      );
    }
    at = Math.max(at, to);
  }
  if (gaps.length > 0)
    note(
      "zip-hidden",
      gaps[0]!.offset,
      `${gaps.reduce((n, g) => n + g.length, 0)} bytes belong to no entry`,
    );
  return gaps;
}

/** Local headers in bytes that no directory lists, e.g. hidden members. */
export function localHeaders(bytes: Uint8Array): number[] {
  const found: number[] = [];
  for (let at = indexOf(bytes, [0x50, 0x4b, 3, 4]); at >= 0 && found.length < 64; )
    at = indexOf(bytes, [0x50, 0x4b, 3, 4], found[found.push(at) - 1]! + 4);
  return found;
}

/** The member whose local header stands at `at`, sizes as it says or up to `end`. */
export async function hiddenMember(
  source: ByteSource,
  at: number,
  end: number,
): Promise<Member | undefined> {
  const local = await readLocal(source, at);
  if (!local) return undefined;
  const room = Math.max(0, end - local.data);
  const packed = local.packed > 0 && local.packed <= room ? local.packed : room;
  return { ...local, packed, offset: local.data, header: at, isFolder: false };
}
