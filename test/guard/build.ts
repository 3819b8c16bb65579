/** Builders of containers for tests, honest and dishonest: zip with any field changed, tar, npy, safetensors, GGUF, protobuf. */

import { deflateRawSync } from "node:zlib";
import { crc32 } from "../../src/formats/index.ts";
import { join, text } from "./samples.ts";

/** A little-endian number. */
export const le = (value: number | bigint, width: number): Uint8Array =>
  Uint8Array.from({ length: width }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 255n));

// ---- zip --------------------------------------------------------------------------------------

/** Fields of one header; what is not given is honest. */
export interface ZipFields {
  readonly name?: string;
  readonly flags?: number;
  readonly method?: number;
  readonly crc?: number;
  readonly packed?: number;
  readonly size?: number;
}

export interface ZipMember extends ZipFields {
  readonly content: Uint8Array;
  readonly deflate?: boolean;
  /** What only the local header says, and what only the directory says. */
  readonly local?: ZipFields;
  readonly central?: ZipFields & { readonly attributes?: number; readonly offset?: number };
  /** Not in the directory. */
  readonly hidden?: boolean;
}

export interface ZipEnd {
  readonly prefix?: Uint8Array;
  readonly comment?: Uint8Array;
  readonly count?: number;
  readonly disk?: number;
  readonly size?: number;
  readonly offset?: number;
  readonly suffix?: Uint8Array;
}

export function anyZip(members: readonly ZipMember[], end: ZipEnd = {}): Uint8Array {
  const {
    prefix = new Uint8Array(0),
    comment = new Uint8Array(0),
    suffix = new Uint8Array(0),
  } = end;
  const parts = [prefix];
  const listed: Uint8Array[] = [];
  let at = prefix.length;
  for (const member of members) {
    const { content, deflate = false, local = {}, central = {}, hidden = false } = member;
    const packed = deflate ? new Uint8Array(deflateRawSync(content)) : content;
    const honest = {
      name: "a",
      flags: 0,
      method: deflate ? 8 : 0,
      crc: crc32(content),
      packed: packed.length,
      size: content.length,
    };
    const fields = (own: ZipFields) => {
      const f = { ...honest, ...member, ...own };
      const name = new TextEncoder().encode(f.name);
      const head = [20, f.flags, f.method, 0, 0x21].map((n) => le(n, 2));
      const sizes = [f.crc, f.packed, f.size].map((n) => le(n, 4));
      return { name, raw: join([...head, ...sizes, le(name.length, 2), le(0, 2)]) };
    };
    const here = fields(local);
    const there = fields(central);
    if (!hidden)
      listed.push(
        text("PK\x01\x02"),
        le(0x0314, 2),
        there.raw,
        le(0, 6),
        le(central.attributes ?? 0, 4),
        le(central.offset ?? at, 4),
        there.name,
      );
    const block = join([text("PK\x03\x04"), here.raw, here.name, packed]);
    parts.push(block);
    at += block.length;
  }
  const directory = join(listed);
  const count = end.count ?? members.filter((m) => !m.hidden).length;
  const tail = [
    text("PK\x05\x06"),
    le(end.disk ?? 0, 2),
    le(0, 2),
    le(count, 2),
    le(count, 2),
    le(end.size ?? directory.length, 4),
    le(end.offset ?? at, 4),
    le(comment.length, 2),
    comment,
    suffix,
  ];
  return join([...parts, directory, ...tail]);
}

// ---- tar --------------------------------------------------------------------------------------

export interface TarMember {
  readonly name: string;
  readonly content?: Uint8Array;
  readonly kind?: string;
  readonly link?: string;
}

export function tar(
  members: readonly TarMember[],
  tail: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { name, content = new Uint8Array(0), kind = "0", link = "" } of members) {
    const block = new Uint8Array(512);
    const octal = (n: number, width: number) => text(`${n.toString(8).padStart(width - 1, "0")}\0`);
    block.set(new TextEncoder().encode(name));
    for (const at of [100, 108, 116]) block.set(octal(0o644, 8), at);
    block.set(octal(content.length, 12), 124);
    block.set(octal(0, 12), 136);
    block.set(text(`        ${kind}${link}`), 148);
    block.set(text("ustar\x0000"), 257);
    const sum = block.reduce((n, b) => n + b, 0);
    block.set(text(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
    parts.push(block, content, new Uint8Array((512 - (content.length % 512)) % 512));
  }
  return join([...parts, new Uint8Array(1024), tail]);
}

// ---- arrays -----------------------------------------------------------------------------------

export function npy(header: string, body: Uint8Array, version = 1): Uint8Array {
  const wide = version > 1 ? 4 : 2;
  const line = `${header.padEnd(Math.ceil((header.length + 9 + wide) / 64) * 64 - 9 - wide)}\n`;
  return join([
    text(`\x93NUMPY${String.fromCharCode(version)}\0`),
    le(line.length, wide),
    text(line),
    body,
  ]);
}

export const npyHeader = (descr: string, shape = "(2,)"): string =>
  `{'descr': ${descr}, 'fortran_order': False, 'shape': ${shape}, }`;

export const safetensors = (header: string, data: Uint8Array = new Uint8Array(0)): Uint8Array => {
  const raw = new TextEncoder().encode(header);
  return join([le(raw.length, 8), raw, data]);
};

/** GGUF of text keys, and of one float32 tensor of a name and size, or none. */
export function gguf(
  keys: readonly (readonly [key: string, value: string])[],
  tensor?: { readonly name: string; readonly size: number },
): Uint8Array {
  const string = (s: string) => {
    const raw = new TextEncoder().encode(s);
    return join([le(raw.length, 8), raw]);
  };
  const parts = [text("GGUF"), le(3, 4), le(tensor ? 1 : 0, 8), le(keys.length, 8)];
  for (const [key, value] of keys) parts.push(string(key), le(8, 4), string(value));
  if (tensor) parts.push(string(tensor.name), le(1, 4), le(tensor.size, 8), le(0, 4), le(0, 8));
  const head = join(parts);
  const data = new Uint8Array(4 * (tensor?.size ?? 0));
  return join([head, new Uint8Array((32 - (head.length % 32)) % 32), data]);
}

// ---- protobuf ---------------------------------------------------------------------------------

/** A field: text, bytes or a message by length; numbers as varints below 2^32. */
export function field(no: number, value: string | Uint8Array | number): Uint8Array {
  const varint = (n: number): number[] =>
    n < 128 ? [n] : [(n & 127) | 128, ...varint(Math.floor(n / 128))];
  if (typeof value === "number") return Uint8Array.from([...varint(no * 8), ...varint(value)]);
  const raw = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return join([Uint8Array.from([...varint(no * 8 + 2), ...varint(raw.length)]), raw]);
}

export const message = (...fields: readonly Uint8Array[]): Uint8Array => join(fields);
