/** The zip reader on archives built here: one good reading, and every ambiguity refused. */

import { deflateRawSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { memorySource } from "./bytes.ts";
import { crc32 } from "./crc32.ts";
import { InputError } from "./errors.ts";
import { readZip, readZipEntry } from "./zip.ts";

interface Part {
  name: string;
  text?: string;
  deflate?: boolean;
  /** Overrides of single header fields, by offset: 16 or 32 bits. */
  local?: [offset: number, value: number, bits: 16 | 32][];
  central?: [offset: number, value: number, bits: 16 | 32][];
  localName?: string;
  descriptor?: boolean;
}

const bytesOfText = (text: string) => Buffer.from(text, "utf8");

function header(size: number, fields: [number, number, 16 | 32][]): Buffer {
  const b = Buffer.alloc(size);
  for (const [at, value, bits] of fields)
    bits === 16 ? b.writeUInt16LE(value, at) : b.writeUInt32LE(value, at);
  return b;
}

/** A zip archive, honest unless told otherwise. */
function zip(parts: Part[], { prefix = "", suffix = "", end = [] as Part["local"] } = {}): Buffer {
  const files: Buffer[] = [Buffer.from(prefix)];
  const directory: Buffer[] = [];
  let at = prefix.length;
  for (const { name, text = "", deflate = false, local = [], central = [], ...rest } of parts) {
    const data = bytesOfText(text);
    const packed = deflate ? deflateRawSync(data) : data;
    const crc = crc32(data);
    const method = deflate ? 8 : 0;
    const flags = 0x800 | (rest.descriptor ? 8 : 0);
    const localName = bytesOfText(rest.localName ?? name);
    const later = (value: number) => (rest.descriptor ? 0 : value);
    const file = Buffer.concat([
      header(30, [
        [0, 0x04034b50, 32],
        [6, flags, 16],
        [8, method, 16],
        [14, later(crc), 32],
        [18, later(packed.length), 32],
        [22, later(data.length), 32],
        [26, localName.length, 16],
        ...local,
      ]),
      localName,
      packed,
      rest.descriptor
        ? header(16, [
            [0, 0x08074b50, 32],
            [4, crc, 32],
            [8, packed.length, 32],
            [12, data.length, 32],
          ])
        : Buffer.alloc(0),
    ]);
    directory.push(
      header(46, [
        [0, 0x02014b50, 32],
        [8, flags, 16],
        [10, method, 16],
        [16, crc, 32],
        [20, packed.length, 32],
        [24, data.length, 32],
        [28, bytesOfText(name).length, 16],
        [42, at, 32],
        ...central,
      ]),
      bytesOfText(name),
    );
    files.push(file);
    at += file.length;
  }
  const list = Buffer.concat(directory);
  const tail = header(22, [
    [0, 0x06054b50, 32],
    [8, parts.length, 16],
    [10, parts.length, 16],
    [12, list.length, 32],
    [16, at, 32],
    ...(end ?? []),
  ]);
  return Buffer.concat([...files, list, tail, Buffer.from(suffix)]);
}

async function readAll(bytes: Uint8Array): Promise<Record<string, string>> {
  const source = memorySource(bytes);
  const out: Record<string, string> = {};
  for (const [name, entry] of await readZip(source))
    out[name] = new TextDecoder().decode(await readZipEntry(source, entry));
  return out;
}

const long = "abc ".repeat(500);

test("crc32 is that of the standard's check value", () => {
  expect(crc32(bytesOfText("123456789"))).toBe(0xcbf43926);
  expect(crc32(bytesOfText("6789"), crc32(bytesOfText("12345")))).toBe(0xcbf43926);
});

describe("a zip archive", () => {
  test("gives its stored and deflated entries, with descriptors or without", async () => {
    const parts = [
      { name: "a/x", text: "hello" },
      { name: "a/é", text: long, deflate: true },
      { name: "b", text: long, deflate: true, descriptor: true },
      { name: "empty" },
    ];
    expect(await readAll(zip(parts))).toEqual({ "a/x": "hello", "a/é": long, b: long, empty: "" });
    expect(await readAll(zip([]))).toEqual({});
  });

  const one: Part = { name: "a", text: "hello" };
  test.each<[string, Uint8Array, RegExp]>([
    ["bytes before it", zip([one], { prefix: "x" }), /before the first/],
    ["bytes after it", zip([one], { suffix: "x" }), /does not end with a directory/],
    ["a comment", zip([one], { end: [[20, 4, 16]], suffix: "note" }), /does not end|comment/],
    ["two archives", Buffer.concat([zip([one]), zip([one])]), /before or inside/],
    [
      "a count of zero",
      zip([one], {
        end: [
          [8, 0, 16],
          [10, 0, 16],
        ],
      }),
      /bytes follow|before the first/,
    ],
    ["a second disk", zip([one], { end: [[4, 1, 16]] }), /several disks/],
    ["a name twice", zip([one, one]), /stands twice/],
    ["a name twice but for case", zip([one, { ...one, name: "A" }]), /stands twice/],
    ["another local name", zip([{ ...one, localName: "b" }]), /disagree/],
    ["another local method", zip([{ ...one, local: [[8, 8, 16]] }]), /disagree/],
    ["another local size", zip([{ ...one, local: [[22, 4, 32]] }]), /disagree/],
    ["another local crc", zip([{ ...one, local: [[14, 4, 32]] }]), /disagree/],
    ["encryption", zip([{ ...one, local: [[6, 1, 16]], central: [[8, 1, 16]] }]), /flags 0x1/],
    [
      "an unknown method",
      zip([{ ...one, local: [[8, 9, 16]], central: [[10, 9, 16]] }]),
      /method 9/,
    ],
    [
      "overlapping entries",
      zip([one, { ...one, name: "b", central: [[42, 3, 32]] }]),
      /overlaps|no local header/,
    ],
    ["a hidden entry", hidden(), /belong to no entry/],
    ["a link", zip([{ ...one, central: [[38, 0xa1ff0000, 32]] }]), /a link/],
    ["a parent folder in a name", zip([{ ...one, name: "a/../b" }]), /plain relative/],
    ["an absolute name", zip([{ ...one, name: "/b" }]), /plain relative/],
    ["a backslash", zip([{ ...one, name: "a\\b" }]), /plain relative/],
    ["a drive", zip([{ ...one, name: "c:b" }]), /plain relative/],
    ["a NUL", zip([{ ...one, name: "a\0b" }]), /plain relative/],
    ["a folder", zip([{ ...one, name: "a/" }]), /plain relative/],
    ["a bomb", zip([{ name: "a", text: "0".repeat(2 ** 21), deflate: true }]), /a bomb/],
    ["nothing at all", Buffer.alloc(0), /does not end with a directory/],
  ])("is refused with %s", async (_, bytes, why) => {
    const error = await readAll(bytes).catch((e) => e);
    expect(error).toBeInstanceOf(InputError);
    expect(error.message).toMatch(why);
  });

  test("is refused when an entry's data does not have its crc or its size", async () => {
    const bytes = zip([one]);
    bytes[31]! ^= 1; // first byte of "hello"
    await expect(readAll(bytes)).rejects.toThrow(/CRC/);
    const packed = zip([
      { name: "a", text: long, deflate: true, local: [[22, 1999, 32]], central: [[24, 1999, 32]] },
    ]);
    await expect(readAll(packed)).rejects.toThrow(/inflates to more/);
    const less = zip([
      { name: "a", text: long, deflate: true, local: [[22, 2001, 32]], central: [[24, 2001, 32]] },
    ]);
    await expect(readAll(less)).rejects.toThrow(/inflates to 2000/);
  });

  test("with any changed or cut byte gives an InputError or entries", async () => {
    const good = zip([one, { name: "b", text: long, deflate: true, descriptor: true }]);
    const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(edits, fc.nat(good.length), async (changes, length) => {
        const bytes = Uint8Array.from(good);
        for (const [at, to] of changes) bytes[at] = to;
        const error = await readAll(bytes.subarray(0, length || bytes.length)).catch((e) => e);
        if (error instanceof Error && !(error instanceof InputError)) throw error;
      }),
      { numRuns: 1000 },
    );
  });
});

/** Two files, of which the directory lists only the first. */
function hidden(): Buffer {
  const both = zip([
    { name: "a", text: "hello" },
    { name: "b", text: "evil!" },
  ]);
  const listAt = both.readUInt32LE(both.length - 6);
  const end = header(22, [
    [0, 0x06054b50, 32],
    [8, 1, 16],
    [10, 1, 16],
    [12, 47, 32],
    [16, listAt, 32],
  ]);
  return Buffer.concat([both.subarray(0, listAt + 47), end]);
}
