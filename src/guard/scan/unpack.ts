/** The compressed streams that are opened, by name, and the budgets of unpacking. Decoders have files of their own. */

import { concatBytes, viewOf } from "./bytes.ts";
import { unbzip2 } from "./bzip2.ts";
import { inflateRaw, type Unpacked } from "./inflate.ts";
import { isSkippable, unlz4 } from "./lz4.ts";
import { unlzma, unxz, unzipLzma } from "./lzma.ts";
import { found, type Part, peek, unreadable } from "./part.ts";
import { unzstd } from "./zstd.ts";

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
  const start = bytes[1]! & 0x20 ? 6 : 2;
  const result = inflateRaw(bytes, max, start);
  // Four bytes of checksum follow.
  return { ...result, used: Math.min(bytes.length, start + result.used + 4) };
};

export const UNPACKERS: Readonly<Record<string, Unpacker>> = {
  gzip: { run: gunzip },
  zlib: { run: zlib },
  bz2: { run: unbzip2 },
  xz: { run: unxz },
  lzma: { run: unlzma },
  "zip-lzma": { run: unzipLzma },
  lz4: { run: unlz4 },
  zstd: { run: unzstd },
  // Both formats may begin with frames that are skipped.
  "skippable frames": {
    run: (bytes, max) => {
      const view = viewOf(bytes);
      let at = 0;
      while (at + 8 <= bytes.length && isSkippable(view.getUint32(at, true)))
        at += 8 + view.getUint32(at + 4, true);
      return (bytes[at] === 4 ? unlz4 : unzstd)(bytes, max);
    },
  },
};

// ---- budgets ----------------------------------------------------------------------------------

/** More than this many times the packed bytes is a bomb, once it is large. */
const BOMB_RATIO = 200;
const BOMB_SIZE = 64 * 2 ** 20;
/** Unpacked bytes of one member that are looked at. */
const MEMBER_SIZE = 64 * 2 ** 20;

/** Unpacks within the budget of the scan, and notes what stops it. */
export async function unpack(
  part: Part,
  packed: { source: Part["source"]; size: number | undefined },
  run: (bytes: Uint8Array, max: number) => Unpacked,
): Promise<Unpacked> {
  const { scan } = part;
  const left = Math.max(0, scan.limits.maxUnpacked - scan.unpacked);
  const max = Math.min(left, MEMBER_SIZE);
  const bytes = await peek(packed.source, 0, scan.limits.maxHeld);
  const result = run(bytes, max);
  scan.unpacked += result.bytes.length;
  const size = packed.size ?? result.bytes.length;
  const huge = Math.max(size, result.bytes.length) > packed.source.size * BOMB_RATIO;
  if (result.fault === "limit" && (huge || left < MEMBER_SIZE))
    found(part, "bomb", {
      severity: "suspicious",
      effect: "fills memory when it is unpacked",
      why: `${packed.source.size} bytes unpack to more than ${result.bytes.length}`,
    });
  else if (huge && size > BOMB_SIZE)
    found(part, "bomb", {
      severity: "suspicious",
      effect: "fills memory when it is unpacked",
      why: `${packed.source.size} bytes unpack to ${size}`,
    });
  else if (scan.unpacked > BOMB_SIZE && scan.unpacked > 1000 * scan.size)
    found(part, "bomb", {
      severity: "suspicious",
      effect: "fills memory when it is unpacked layer by layer",
      why: `${scan.size} bytes unpack to more than ${scan.unpacked} in all`,
    });
  else if (result.fault === "limit")
    unreadable(part, `only the first ${result.bytes.length} bytes were unpacked`);
  if (result.fault === "damaged") unreadable(part, "the packed data is damaged or cut off");
  return result;
}
