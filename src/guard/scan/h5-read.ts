/** HDF5 files read by range: superblock, object headers, messages, links and attributes (HDF5 File Format Specification 3.0). No data sets. */

import { byteText, InputError, looseText, startsWith } from "./bytes.ts";
import type { Bytes } from "./protobuf-walk.ts";

/** An open file: how wide its numbers are, and where its addresses begin. */
export interface H5 {
  readonly bytes: Bytes;
  /** Address 0. */
  readonly base: number;
  /** Bytes of addresses and of lengths. */
  readonly wide: number;
  readonly long: number;
}

/** One message of an object header. */
export interface Message {
  readonly type: number;
  /** Bit 1: it is kept elsewhere and shared. */
  readonly flags: number;
  readonly at: number;
  readonly body: Uint8Array;
}

export const MESSAGE = {
  linkInfo: 2,
  datatype: 3,
  link: 6,
  external: 7,
  layout: 8,
  filters: 11,
  attribute: 12,
  continuation: 16,
  symbols: 17,
  attributeInfo: 21,
} as const;

const MAX_HEADER = 32 * 2 ** 20;
const MAX_MESSAGES = 200_000;

export const fail = (why: string): never => {
  throw new InputError(`hdf5: ${why}`);
};

/** A little-endian number of any width; all bits set is "nowhere". */
export function number(bytes: Uint8Array, at: number, width: number): number {
  if (at + width > bytes.length) return fail("a structure is cut off");
  let value = 0;
  for (let i = width - 1; i >= 0; i--) value = value * 256 + bytes[at + i]!;
  return value;
}

/** Whether a number is an address at all. */
export const isAddress = (value: number): boolean => value < 2 ** 52;

/** Exactly `length` bytes at an address of the file. */
export async function range(h5: H5, address: number, length: number): Promise<Uint8Array> {
  const at = h5.base + address;
  if (!isAddress(address) || !(length >= 0 && length <= h5.bytes.source.size - at))
    return fail(`${length} bytes at ${address} are not in the file`);
  return h5.bytes.range(at, length);
}

/** As `range`, after a look at the signature. Copied: the window moves on. */
export async function signed(
  h5: H5,
  address: number,
  mark: string,
  length: number,
): Promise<Uint8Array> {
  const raw = await range(h5, address, length);
  return startsWith(raw, mark) ? raw.slice() : fail(`there is no ${mark} at ${address}`);
}

/** Opens a file whose signature stands at `start`; returns it with the address of the root group's header. */
export async function openH5(bytes: Bytes, start: number): Promise<{ h5: H5; root: number }> {
  const raw = (await bytes.range(start, Math.min(128, bytes.source.size - start))).slice();
  const version = number(raw, 8, 1);
  if (version > 3) return fail(`superblock version ${version}`);
  const old = version < 2;
  const [wide, long] = [number(raw, old ? 13 : 9, 1), number(raw, old ? 14 : 10, 1)];
  if (![2, 4, 8].includes(wide) || ![2, 4, 8].includes(long))
    return fail(`addresses of ${wide} and lengths of ${long} bytes`);
  const at = old ? (version === 0 ? 24 : 28) : 12;
  const base = number(raw, at, wide);
  // Base, free space or extension, end, driver; then the root: an entry of a symbol table, or its address.
  const root = number(raw, at + (old ? 4 * wide + wide : 3 * wide), wide);
  // Libraries trust the place of the signature more than the address in it.
  return { h5: { bytes, base: start > 0 && base === 0 ? start : base, wide, long }, root };
}

// ---- object headers ---------------------------------------------------------------------------

/** All messages of the object whose header is at an address. */
export async function messagesOf(h5: H5, address: number): Promise<Message[]> {
  const head = (
    await range(h5, address, Math.min(40, h5.bytes.source.size - h5.base - address))
  ).slice();
  const modern = startsWith(head, "OHDR");
  if (!modern && head[0] !== 1) return fail(`there is no object at ${address}`);
  const flags = modern ? number(head, 5, 1) : 0;
  const messages: Message[] = [];
  /** Chunks of the header that are still to be read. */
  const chunks: [address: number, length: number][] = [];
  if (modern) {
    const at = 6 + (flags & 0x20 ? 16 : 0) + (flags & 0x10 ? 4 : 0);
    const width = 1 << (flags & 3);
    chunks.push([address + at + width, number(head, at, width)]);
  } else chunks.push([address + 16, number(head, 8, 4)]);
  const seen = new Set<number>();
  for (let i = 0; i < chunks.length; i++) {
    const [from, length] = chunks[i]!;
    if (seen.has(from) || length > MAX_HEADER) return fail(`an object header of ${length} bytes`);
    seen.add(from);
    const raw = (await range(h5, from, length)).slice();
    // Later chunks of the modern form stand between a signature and a checksum.
    let at = modern && i > 0 ? 4 : 0;
    const end = modern && i > 0 ? length - 4 : length;
    const step = modern ? 4 + (flags & 4 ? 2 : 0) : 8;
    while (at + step <= end && messages.length < MAX_MESSAGES) {
      const type = number(raw, at, modern ? 1 : 2);
      const size = number(raw, at + (modern ? 1 : 2), 2);
      const own = raw[at + (modern ? 3 : 4)]!;
      at += step;
      if (at + size > end) return fail("a message is cut off");
      const body = raw.subarray(at, at + size);
      if (type === MESSAGE.continuation)
        chunks.push([number(body, 0, h5.wide), number(body, h5.wide, h5.long)]);
      else messages.push({ type, flags: own, at: h5.base + from + at, body });
      at += size;
    }
  }
  return messages;
}

// ---- links ------------------------------------------------------------------------------------

export interface Link {
  readonly name: string;
  readonly address: number | undefined;
  /** File and object of an external link. */
  readonly external: string | undefined;
}

/** A link message, in a header or in a heap. */
export function readLink(h5: H5, body: Uint8Array): Link {
  const flags = number(body, 1, 1);
  let at = 2;
  const type = flags & 8 ? number(body, at++, 1) : 0;
  if (flags & 4) at += 8;
  if (flags & 16) at++;
  const width = 1 << (flags & 3);
  const length = number(body, at, width);
  at += width;
  const name = looseText(body.subarray(at, at + length));
  at += length;
  if (type === 0) return { name, address: number(body, at, h5.wide), external: undefined };
  const size = number(body, at, 2);
  const value = body.subarray(at + 2, at + 2 + size);
  // A byte of flags, the file, the object.
  const external = type === 64 ? looseText(value.subarray(1)).split("\0")[0] : undefined;
  return { name, address: undefined, external };
}

/** Text in a group's own heap. */
export async function heapText(h5: H5, heap: number, offset: number): Promise<string> {
  const head = await signed(h5, heap, "HEAP", 8 + 2 * h5.long + h5.wide);
  const size = number(head, 8, h5.long);
  const data = number(head, 8 + 2 * h5.long, h5.wide);
  if (!(offset < size)) return fail("a name outside of its heap");
  const raw = await range(h5, data + offset, Math.min(size - offset, 4096));
  const end = raw.indexOf(0);
  return looseText(end < 0 ? raw : raw.subarray(0, end));
}

/** Addresses of the objects of a group of the old form: a tree of symbol table nodes. */
export async function* oldGroup(h5: H5, tree: number, heap: number): AsyncGenerator<Link> {
  const queue = [tree];
  const seen = new Set<number>();
  const { wide } = h5;
  for (let address = queue.pop(); address !== undefined; address = queue.pop()) {
    if (seen.has(address)) return fail("a group that contains itself");
    seen.add(address);
    const head = (await range(h5, address, 8)).slice();
    const count = number(head, 6, 2);
    if (startsWith(head, "TREE")) {
      const body = (await range(h5, address + 8 + 2 * wide, count * (h5.long + wide))).slice();
      for (let i = 0; i < count; i++)
        queue.push(number(body, i * (h5.long + wide) + h5.long, wide));
    } else if (startsWith(head, "SNOD")) {
      const width = 2 * wide + 24;
      const body = (await range(h5, address + 8, count * width)).slice();
      for (let i = 0; i < count; i++) {
        const name = await heapText(h5, heap, number(body, i * width, wide));
        const soft = number(body, i * width + 2 * wide, 4) === 2;
        const target = soft ? undefined : number(body, i * width + wide, wide);
        yield { name, address: target, external: undefined };
      }
    } else return fail(`there is no group at ${address}`);
  }
}

// ---- attributes -------------------------------------------------------------------------------

export interface Attribute {
  readonly name: string;
  /** Its values as one text: fixed and variable strings, or raw bytes one character each. */
  readonly text: string;
}

const VARIABLE = 9;
const MAX_TEXT = 64 * 2 ** 20;

/** An attribute message, in a header or in a heap. */
export async function readAttribute(h5: H5, body: Uint8Array): Promise<Attribute> {
  const version = number(body, 0, 1);
  if (version < 1 || version > 3) return fail(`an attribute of version ${version}`);
  const [nameSize, typeSize, spaceSize] = [2, 4, 6].map((at) => number(body, at, 2)) as [
    number,
    number,
    number,
  ];
  const padded = (n: number) => (version === 1 ? (n + 7) & ~7 : n);
  let at = version === 3 ? 9 : 8;
  const name = looseText(body.subarray(at, at + nameSize)).replace(/\0.*$/s, "");
  at += padded(nameSize);
  const type = body.subarray(at, at + typeSize);
  at += padded(typeSize) + padded(spaceSize);
  const data = body.subarray(at);
  const shared = version > 1 && (body[1]! & 1) !== 0;
  if (shared || (type[0]! & 15) !== VARIABLE)
    return { name, text: byteText(data.subarray(0, MAX_TEXT)) };
  const texts: string[] = [];
  const width = 8 + h5.wide;
  for (let i = 0; i + width <= data.length && texts.length < 100_000; i += width) {
    const length = number(data, i, 4);
    const heap = number(data, i + 4, h5.wide);
    if (length === 0 || !isAddress(heap) || heap === 0) continue;
    texts.push(await globalText(h5, heap, { index: number(data, i + 4 + h5.wide, 4), length }));
  }
  return { name, text: texts.join("\n") };
}

/** An object of a global heap collection. */
async function globalText(
  h5: H5,
  heap: number,
  want: { index: number; length: number },
): Promise<string> {
  const head = await signed(h5, heap, "GCOL", 8 + h5.long);
  const size = number(head, 8, h5.long);
  if (size > MAX_HEADER) return fail(`a heap of ${size} bytes`);
  const raw = await range(h5, heap, size);
  const step = 8 + h5.long;
  for (let at = 8 + h5.long; at + step <= raw.length; ) {
    const index = number(raw, at, 2);
    const length = number(raw, at + 8, h5.long);
    if (index === want.index)
      return looseText(
        raw.subarray(at + step, at + step + Math.min(length, want.length, MAX_TEXT)),
      );
    if (index === 0) break;
    at += step + ((length + 7) & ~7);
  }
  return fail(`object ${want.index} is not in its heap`);
}
