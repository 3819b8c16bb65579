/** Reads a ledger that may be growing: its head, entries and tree up to that head. Writes nothing, mends nothing. */

import { InputError } from "../../formats/errors.ts";
import { sameBytes } from "../sign/encoding.ts";
import type { VerifiedCheckpoint } from "./checkpoint.ts";
import type { Disk } from "./disk.ts";
import { type LedgerRecord, NO_ENTRY, openEntry } from "./entry.ts";
import { diskTiles, ownVkey, readTail, type Tail, TamperError } from "./journal.ts";
import { leafHash, type Subtrees } from "./merkle.ts";
import { type NoteVerifier, parseVkey, sameVerifier } from "./note.ts";
import {
  decodeBundle,
  foldHashes,
  type TileReader,
  tilePath,
  tileSubtrees,
  WIDTH,
} from "./tiles.ts";

/** A ledger as it was when it was opened for reading. */
export interface LedgerReader {
  readonly log: NoteVerifier;
  /** The last head that the log signed. */
  readonly head: VerifiedCheckpoint;
  /** The tree under that head. */
  readonly subtrees: Subtrees;
  readonly tail: Tail;
  /** Bytes of one entry below the head, checked against the tree. */
  entry(index: number): Promise<Uint8Array>;
  /** Entries from one on, verified one by one: signature, place, and the entry before. */
  records(from?: number): AsyncGenerator<LedgerRecord>;
}

/**
 * Opens a ledger for reading.
 * @param log the log's key, which you have from elsewhere. Without it the key in the folder is believed: the ledger is
 *   then shown to be in itself consistent, not to be the one you mean.
 */
export async function readLedgerOn(
  disk: Disk,
  { log }: { log?: NoteVerifier } = {},
): Promise<LedgerReader> {
  const own = parseVkey(await ownVkey(disk));
  if (log && !sameVerifier(own, log))
    throw new TamperError(
      `this ledger says it is ${own.name} with the key ${own.keyId}, you want ${log.name} with ${log.keyId}; it is another one`,
    );
  const tail = await readTail(disk, own);
  const read = ledgerTiles(disk, tail);
  const { head } = tail;
  const bundle = async (index: number): Promise<readonly Uint8Array[]> => {
    if (index * WIDTH >= tail.base) return tail.entries;
    const path = tilePath("entries", index);
    const bytes = await disk.read(path);
    if (!bytes) throw new TamperError(`the ledger lacks ${path}; it was removed, or not copied`);
    return decodeBundle(bytes, WIDTH, path);
  };
  const leafAt = async (index: number): Promise<Uint8Array> =>
    (await read(0, Math.floor(index / WIDTH), WIDTH))[index % WIDTH]!;
  return {
    log: own,
    head,
    subtrees: tileSubtrees(read, head.size),
    tail,
    async entry(index) {
      if (!Number.isSafeInteger(index) || index < 0 || index >= head.size)
        throw new InputError(
          `the ledger has no entry ${index}; it has ${head.size}, counted from 0`,
          { index, size: head.size },
        );
      const bytes = (await bundle(Math.floor(index / WIDTH)))[index % WIDTH]!;
      if (!sameBytes(leafHash(bytes), await leafAt(index)))
        throw new TamperError(`the ledger was altered: entry ${index} is not the one in the tree`);
      return bytes;
    },
    async *records(from = 0) {
      let prev = from === 0 ? NO_ENTRY : await leafAt(from - 1);
      for (let index = from; index < head.size; ) {
        const entries = await bundle(Math.floor(index / WIDTH));
        for (const bytes of entries.slice(index % WIDTH)) {
          if (index >= head.size) return;
          const record = await openEntry(bytes, { origin: own.name, index, prev }, own.key);
          yield record;
          prev = record.leaf;
          index++;
        }
      }
    },
  };
}

/** Tiles of a ledger, of which the last may only be in its journal. */
function ledgerTiles(disk: Disk, { base, records }: Tail): TileReader {
  const stored = diskTiles(disk);
  const read: TileReader = async (level, index, width) => {
    if (level === 0 && index * WIDTH === base) return records.map((record) => record.leaf);
    const present = Math.min(WIDTH, Math.floor(base / WIDTH ** level) - index * WIDTH);
    const hashes = present > 0 ? [...(await stored(level, index, present))] : [];
    while (level > 0 && hashes.length < width)
      hashes.push(foldHashes(await read(level - 1, index * WIDTH + hashes.length, WIDTH)));
    return hashes;
  };
  return read;
}
