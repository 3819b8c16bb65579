/** LZ4 frames, decoded (LZ4 Frame Format 1.6, LZ4 Block Format). Checksums are not compared. */

import { viewOf } from "./bytes.ts";
import { Damaged, Full, guarded, type Output, type Unpacked } from "./inflate.ts";

const MAGIC = 0x184d2204;
/** Frames that readers skip: 0x184d2a50 to 0x184d2a5f, in zstd's files as well. */
export const isSkippable = (magic: number): boolean => magic >>> 4 === 0x184d2a5;

/** Sequences of literals and matches. `start` is where the frame began in the output: no match reaches before it. */
function block(bytes: Uint8Array, out: Output, start: number): void {
  let at = 0;
  const length = (nibble: number): number => {
    let n = nibble;
    if (nibble === 15)
      for (let byte = 255; byte === 255; n += byte) {
        if (at >= bytes.length) throw new Damaged("the stream ends early");
        byte = bytes[at++]!;
      }
    return n;
  };
  while (at < bytes.length) {
    const token = bytes[at++]!;
    const literals = length(token >> 4);
    const have = Math.min(literals, bytes.length - at);
    if (!out.room(have)) throw new Full();
    out.bytes.set(bytes.subarray(at, at + have), out.length);
    out.length += have;
    at += have;
    if (have < literals) throw new Damaged("the stream ends early");
    if (at === bytes.length) return;
    if (at + 2 > bytes.length) throw new Damaged("the stream ends early");
    const distance = bytes[at]! | (bytes[at + 1]! << 8);
    at += 2;
    const match = 4 + length(token & 15);
    if (distance === 0 || distance > out.length - start)
      throw new Damaged("a distance before the start");
    if (!out.room(match)) throw new Full();
    out.copy(distance, match);
  }
}

/** Unpacks all frames up to `max` bytes; keeps what came before any damage. */
export const unlz4 = (bytes: Uint8Array, max: number): Unpacked =>
  guarded(max, (out) => {
    const view = viewOf(bytes);
    let at = 0;
    const need = (n: number): number => {
      if (n > bytes.length - at) throw new Damaged("the stream ends early");
      at += n;
      return at - n;
    };
    while (at < bytes.length) {
      const magic = view.getUint32(need(4), true);
      if (isSkippable(magic)) {
        need(view.getUint32(need(4), true));
        continue;
      }
      if (magic !== MAGIC) {
        if (at === 4) throw new Damaged("no lz4");
        return at - 4;
      }
      const flags = bytes[need(2)]!;
      if (flags >> 6 !== 1) throw new Damaged("an unknown version");
      // Size of the content, number of the dictionary, checksum of the header.
      need((flags & 8 ? 8 : 0) + (flags & 1 ? 4 : 0) + 1);
      const start = out.length;
      for (;;) {
        const word = view.getUint32(need(4), true);
        if (word === 0) break;
        const size = word & 0x7fffffff;
        const from = need(size);
        const data = bytes.subarray(from, from + size);
        if (word >>> 31) {
          if (!out.room(size)) throw new Full();
          out.bytes.set(data, out.length);
          out.length += size;
        } else block(data, out, start);
        if (flags & 16) need(4);
      }
      if (flags & 4) need(4);
    }
    return at;
  });
