/** Builders of small files for tests, fuzzing and benches: pickles and zips, honest ones. Not a writer of models. */

import { concatBytes } from "../../src/formats/bytes.ts";
import { crc32 } from "../../src/formats/index.ts";

/** One byte a character. */
export const text = (s: string): Uint8Array => Uint8Array.from(s, (c) => c.charCodeAt(0));

/** A pickle of a protocol from the given opcodes. */
export const pickle = (protocol: number, ...opcodes: string[]): Uint8Array =>
  text(`\x80${String.fromCharCode(protocol)}${opcodes.join("")}.`);

const u16 = (n: number): number[] => [n & 255, (n >> 8) & 255];
const u32 = (n: number): number[] => [...u16(n & 0xffff), ...u16(n >>> 16)];

/** A zip of stored members, in order. */
export function zip(
  members: readonly (readonly [name: string, content: Uint8Array])[],
): Uint8Array {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const [name, content] of members) {
    const raw = new TextEncoder().encode(name);
    const shared = [
      ...u16(20),
      ...u16(0),
      ...u16(0),
      ...u16(0),
      ...u16(0x21),
      ...u32(crc32(content)),
      ...u32(content.length),
      ...u32(content.length),
      ...u16(raw.length),
      ...u16(0),
    ];
    parts.push(Uint8Array.from([0x50, 0x4b, 3, 4, ...shared, ...raw]), content);
    directory.push(
      Uint8Array.from([
        0x50,
        0x4b,
        1,
        2,
        ...u16(20),
        ...shared,
        ...u16(0),
        ...u16(0),
        ...u16(0),
        ...u32(0),
        ...u32(at),
        ...raw,
      ]),
    );
    at += 30 + raw.length + content.length;
  }
  const size = directory.reduce((n, d) => n + d.length, 0);
  const end = [
    0x50,
    0x4b,
    5,
    6,
    ...u16(0),
    ...u16(0),
    ...u16(members.length),
    ...u16(members.length),
    ...u32(size),
    ...u32(at),
    ...u16(0),
  ];
  return concatBytes([...parts, ...directory, Uint8Array.from(end)]);
}

export { concatBytes as join };
