/** The compressed streams that are opened, by name. Decoders in inflate.ts, bzip2.ts and lzma.ts. */

import { concatBytes } from "./bytes.ts";
import { unbzip2 } from "./bzip2.ts";
import { inflateRaw, type Unpacked } from "./inflate.ts";
import { unlzma, unxz, unzipLzma } from "./lzma.ts";

export interface Unpacker {
  readonly run: (bytes: Uint8Array, max: number) => Unpacked;
}

/** RFC 1952: members one after another. */
function gunzip(bytes: Uint8Array, max: number): Unpacked {
  const chunks: Uint8Array[] = [];
  let [at, length] = [0, 0];
  let fault: Unpacked["fault"];
  while (
    fault === undefined &&
    at + 18 <= bytes.length &&
    bytes[at] === 0x1f &&
    bytes[at + 1] === 0x8b
  ) {
    const flags = bytes[at + 3]!;
    let from = at + 10;
    if (flags & 4) from += 2 + (bytes[from]! | (bytes[from + 1]! << 8));
    for (const text of [flags & 8, flags & 16])
      if (text) from = bytes.indexOf(0, from) + 1 || bytes.length;
    if (flags & 2) from += 2;
    const member = inflateRaw(bytes, max - length, from);
    chunks.push(member.bytes);
    length += member.bytes.length;
    fault = member.fault;
    at = from + member.used + 8;
  }
  if (chunks.length === 0) return { bytes: new Uint8Array(0), used: 0, fault: "damaged" };
  return { bytes: concatBytes(chunks), used: at, fault };
}

/** RFC 1950. */
const zlib = (bytes: Uint8Array, max: number): Unpacked => {
  const result = inflateRaw(bytes, max, bytes[1]! & 0x20 ? 6 : 2);
  return { ...result, used: result.used + 2 };
};

export const UNPACKERS: Readonly<Record<string, Unpacker>> = {
  gzip: { run: gunzip },
  zlib: { run: zlib },
  bz2: { run: unbzip2 },
  xz: { run: unxz },
  lzma: { run: unlzma },
  "zip-lzma": { run: unzipLzma },
};
