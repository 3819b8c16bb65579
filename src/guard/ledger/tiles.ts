/** C2SP tlog-tiles: where the hashes and entries of a log lie, and trees read from them. Writes nothing. */

import { InputError } from "../../formats/errors.ts";
import { joinBytes } from "../sign/encoding.ts";
import { nodeHash, type Subtrees } from "./merkle.ts";

/** Hashes in a full tile, entries in a full bundle. */
export const WIDTH = 256;
const HASH = 32;
/** The length of an entry is written in two bytes. */
export const MAX_ENTRY = 65_535;

/**
 * Path of a tile below the log's folder: `tile/1/x001/x234/067`, `tile/entries/000.p/5`.
 * @param width hashes in it; less than 256 makes it a partial tile
 */
export function tilePath(level: number | "entries", index: number, width = WIDTH): string {
  const parts = [String(index % 1000).padStart(3, "0")];
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000))
    parts.unshift(`x${String(rest % 1000).padStart(3, "0")}`);
  return `tile/${level}/${parts.join("/")}${width < WIDTH ? `.p/${width}` : ""}`;
}

/** Entries one after the other, each behind its length in two bytes, big end first. */
export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array {
  return joinBytes(
    ...entries.flatMap((entry) => {
      if (entry.length > MAX_ENTRY) throw new RangeError(`an entry of ${entry.length} bytes`);
      return [Uint8Array.of(entry.length >> 8, entry.length & 255), entry];
    }),
  );
}

/** Reads a bundle of exactly `count` entries. @throws InputError */
export function decodeBundle(bytes: Uint8Array, count: number, what: string): Uint8Array[] {
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    const length = (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
    if (at + 2 + length > bytes.length)
      throw new InputError(`${what}: entry ${entries.length} runs over the end; it is damaged`);
    entries.push(bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  if (entries.length !== count)
    throw new InputError(`${what}: it holds ${entries.length} entries, wanted ${count}`);
  return entries;
}

/** Reads a tile of exactly `count` hashes. @throws InputError */
export function decodeTile(bytes: Uint8Array, count: number, what: string): Uint8Array[] {
  if (bytes.length !== count * HASH)
    throw new InputError(`${what}: it has ${bytes.length} bytes, wanted ${count} hashes`);
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * HASH, (i + 1) * HASH));
}

/** Hash of a full subtree from its 2^n leaves or inner hashes. */
export function foldHashes(hashes: readonly Uint8Array[]): Uint8Array {
  let row = [...hashes];
  while (row.length > 1)
    row = Array.from({ length: row.length / 2 }, (_, i) => nodeHash(row[i * 2]!, row[i * 2 + 1]!));
  return row[0]!;
}

/** Which tiles a tree of a size needs at its right edge: all that are not full, and those just filled. */
export interface EdgeTile {
  readonly level: number;
  readonly index: number;
  readonly width: number;
}

/** Partial tiles of a tree (tlog-tiles, "Partial Tiles"): one for each level at most. */
export function partialTiles(size: number): EdgeTile[] {
  const found: EdgeTile[] = [];
  for (let level = 0, hashes = size; hashes > 0; level++, hashes = Math.floor(hashes / WIDTH))
    if (hashes % WIDTH > 0)
      found.push({ level, index: Math.floor(hashes / WIDTH), width: hashes % WIDTH });
  return found;
}

/** Full tiles that appear when a tree grows to a size that is a multiple of 256. */
export function filledTiles(size: number): EdgeTile[] {
  const found: EdgeTile[] = [];
  for (let level = 0, hashes = size; hashes > 0 && hashes % WIDTH === 0; level++, hashes /= WIDTH)
    found.push({ level, index: hashes / WIDTH - 1, width: WIDTH });
  return found;
}

/** Gives the hashes of a tile, at least `width` of them. */
export type TileReader = (
  level: number,
  index: number,
  width: number,
) => Promise<readonly Uint8Array[]>;

/**
 * Subtrees of the first `size` leaves, read from tiles. Tiles read are remembered: a proof meets the same ones again.
 */
export function tileSubtrees(read: TileReader, size: number): Subtrees {
  const known = new Map<string, Promise<readonly Uint8Array[]>>();
  const tile = (level: number, index: number) => {
    const key = `${level}/${index}`;
    let found = known.get(key);
    if (!found) {
      const hashes = Math.floor(size / WIDTH ** level) - index * WIDTH;
      found = read(level, index, Math.min(WIDTH, hashes));
      known.set(key, found);
      if (known.size > 1024) known.delete(known.keys().next().value!);
    }
    return found;
  };
  return async (level, index) => {
    // 2^level leaves are 2^(level mod 8) hashes of a tile eight levels apart.
    const [tileLevel, count] = [Math.floor(level / 8), 2 ** (level % 8)];
    const start = index * count;
    const hashes = await tile(tileLevel, Math.floor(start / WIDTH));
    const from = start % WIDTH;
    if (hashes.length < from + count)
      throw new InputError(`the log's tiles end before leaf ${(index + 1) * 2 ** level}`);
    return foldHashes(hashes.slice(from, from + count));
  };
}
