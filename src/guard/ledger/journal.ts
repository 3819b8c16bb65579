/** The journal: entries since the last full bundle and the heads signed over them. Reads; ledger.ts writes. */

import { InputError } from "../../formats/errors.ts";
import { fromBase64, joinBytes, sameBytes } from "../sign/encoding.ts";
import { openCheckpoint, type VerifiedCheckpoint } from "./checkpoint.ts";
import type { Disk } from "./disk.ts";
import { type LedgerRecord, NO_ENTRY, openEntry } from "./entry.ts";
import { EMPTY, type Frontier, frontierOf, grow, rootOf } from "./merkle.ts";
import { type NoteVerifier, parseNote, verifyNote } from "./note.ts";
import {
  decodeTile,
  foldHashes,
  MAX_ENTRY,
  type TileReader,
  tilePath,
  tileSubtrees,
  WIDTH,
} from "./tiles.ts";

/** Names of a ledger's own files. Those of tiles are in tiles.ts. */
export const FILES = {
  journal: "journal",
  key: "key.pub",
  checkpoint: "checkpoint",
  lock: "lock",
} as const;
export const FOLDERS = {
  cosigned: "cosigned",
  blobs: "blobs",
  torn: "torn",
  tile: "tile",
} as const;

/**
 * A journal is a row of frames: one letter, the length in four bytes (big end first), the content. E holds an entry; H
 * holds a checkpoint over all entries before it. The first frame is an H over the full bundles. No checksums: entries
 * and heads are signed, and what does not verify is not there.
 */
const FRAME = { entry: 0x45, head: 0x48 } as const;
const HEADER = 5;
const MOST: Readonly<Record<number, number>> = { [FRAME.entry]: MAX_ENTRY, [FRAME.head]: 4096 };

const frame = (type: number, content: Uint8Array): Uint8Array => {
  const header = new Uint8Array(HEADER);
  header[0] = type;
  new DataView(header.buffer).setUint32(1, content.length);
  return joinBytes(header, content);
};
export const entryFrame = (entry: Uint8Array): Uint8Array => frame(FRAME.entry, entry);
export const headFrame = (head: Uint8Array): Uint8Array => frame(FRAME.head, head);

interface Frame {
  readonly type: number;
  readonly content: Uint8Array;
  readonly end: number;
}

/** The frame at a place, undefined when what stands there is no whole frame. */
function frameAt(bytes: Uint8Array, at: number): Frame | undefined {
  const most = MOST[bytes[at] ?? 0];
  if (most === undefined || at + HEADER > bytes.length) return undefined;
  const length = new DataView(bytes.buffer, bytes.byteOffset + at + 1).getUint32(0);
  const end = at + HEADER + length;
  if (length > most || end > bytes.length) return undefined;
  return { type: bytes[at]!, content: bytes.subarray(at + HEADER, end), end };
}

/** What was altered cannot be mended, only found. */
export class TamperError extends InputError {}

/** The ledger's end as its journal tells it. */
export interface Tail {
  /** Entries in full bundles. */
  readonly base: number;
  /** Entries after those, with a signed head over them or not. */
  readonly entries: readonly Uint8Array[];
  readonly records: readonly LedgerRecord[];
  /** The last signed head. */
  readonly head: VerifiedCheckpoint;
  /** The tree with all of `entries`. */
  readonly frontier: Frontier;
  /** The tree of the full bundles. */
  readonly start: Frontier;
  /** Leaf of the last entry. */
  readonly prev: Uint8Array;
  /** Leaf of the first entry of the run. */
  readonly run?: Uint8Array;
  /** Bytes of the journal that verify; what follows was being written when the writer died. */
  readonly end: number;
  /** Entries at the end that no head covers yet: they were never acknowledged. */
  readonly open: number;
  /** What follows `end`. */
  readonly torn: Uint8Array;
  readonly size: number;
}

/** Reads tiles from a disk: the full file where there is one, else the partial one of just this width. */
export const diskTiles =
  (disk: Disk): TileReader =>
  async (level, index, width) => {
    const full = tilePath(level, index);
    const whole = await disk.read(full);
    if (whole) return decodeTile(whole, WIDTH, full);
    const path = tilePath(level, index, width);
    const bytes = await disk.read(path);
    if (!bytes) throw new TamperError(`the ledger lacks ${path}; it was removed, or not copied`);
    return decodeTile(bytes, width, path);
  };

/** The key a ledger says it is written with. Whoever can write the ledger can write this too. */
export async function ownVkey(disk: Disk): Promise<string> {
  const bytes = await disk.read(FILES.key);
  if (!bytes)
    throw new InputError(`there is no ledger here: ${FILES.key} is missing; check the folder`);
  return new TextDecoder().decode(bytes).trim();
}

/** The leaves at both ends of the full bundles, checked against the tree. */
async function edgeLeaves(
  disk: Disk,
  base: number,
): Promise<{ prev: Uint8Array; run?: Uint8Array }> {
  if (base === 0) return { prev: NO_ENTRY };
  const read = diskTiles(disk);
  const subtrees = tileSubtrees(read, base);
  const leaves = async (bundle: number) => {
    const hashes = await read(0, bundle, WIDTH);
    if (!sameBytes(foldHashes(hashes), await subtrees(8, bundle)))
      throw new TamperError(`the ledger was altered: ${tilePath(0, bundle)} is not in its tree`);
    return hashes;
  };
  const last = base / WIDTH - 1;
  return { run: (await leaves(0))[0], prev: (await leaves(last))[WIDTH - 1]! };
}

/**
 * Reads and verifies the journal. Bytes at its end that are no whole, valid frame are a torn write - unless a signed head
 * stands behind them: then something that had been acknowledged was altered.
 * @throws TamperError
 */
export async function readTail(disk: Disk, log: NoteVerifier): Promise<Tail> {
  const bytes = await disk.read(FILES.journal);
  const what = "the ledger was altered: its journal";
  if (!bytes) throw new TamperError(`${what} is missing`);
  const first = frameAt(bytes, 0);
  if (first?.type !== FRAME.head) throw new TamperError(`${what} does not begin with a head`);
  let head = await openHead(first.content, log, what);
  const base = head.size;
  if (base % WIDTH !== 0) throw new TamperError(`${what} begins at entry ${base}`);
  const start = base === 0 ? EMPTY : await frontierOf(tileSubtrees(diskTiles(disk), base), base);
  if (!sameBytes(rootOf(start), head.root))
    throw new TamperError(`the ledger was altered: its tiles are not those of its head at ${base}`);
  let { prev, run } = await edgeLeaves(disk, base);
  const entries: Uint8Array[] = [];
  const records: LedgerRecord[] = [];
  let frontier = start;
  let at = first.end;
  let open = 0;
  for (let next = frameAt(bytes, at); next; next = frameAt(bytes, at)) {
    if (next.type === FRAME.head) {
      const found = await openHead(next.content, log, what).catch(() => undefined);
      if (!found || found.size !== frontier.size || !sameBytes(found.root, rootOf(frontier))) break;
      head = found;
      open = 0;
    } else {
      const place = { origin: log.name, index: frontier.size, prev };
      const record = await openEntry(next.content, place, log.key).catch(() => undefined);
      if (!record || entries.length === WIDTH) break;
      entries.push(next.content);
      records.push(record);
      frontier = grow(frontier, record.leaf);
      prev = record.leaf;
      run ??= record.leaf;
      open++;
    }
    at = next.end;
  }
  const torn = bytes.subarray(at);
  const later = await laterHead(torn, log);
  if (later !== undefined)
    throw new TamperError(
      `${what} is damaged at byte ${at}, after entry ${frontier.size - 1}, and a head over ${later} entries was signed after that`,
      { at, size: frontier.size, later },
    );
  const size = frontier.size;
  return { base, entries, records, head, frontier, start, prev, run, end: at, open, torn, size };
}

/** A head that the log signed; anything else in its place was put there. @throws TamperError */
export async function openHead(bytes: Uint8Array, log: NoteVerifier, what: string) {
  try {
    return await openCheckpoint(bytes, log, { what });
  } catch (error) {
    if (error instanceof InputError) throw new TamperError(error.message, error.data);
    throw error;
  }
}

/** Size of a head of this log, rightly signed, anywhere in the bytes. */
async function laterHead(bytes: Uint8Array, log: NoteVerifier): Promise<number | undefined> {
  // Latin-1 keeps one character for each byte; a signed head is ASCII but for its origin and its dash.
  const text = new TextDecoder("latin1").decode(bytes);
  for (const found of text.matchAll(/\n(\d{1,16})\n([A-Za-z0-9+/]{43}=)\n\n/g)) {
    const origin = new TextEncoder().encode(log.name);
    const from = found.index - origin.length;
    if (from < 0 || !sameBytes(bytes.subarray(from, found.index), origin)) continue;
    const line = text.indexOf("\n", found.index + found[0].length);
    if (line < 0) continue;
    try {
      const note = parseNote(bytes.subarray(from, line + 1));
      fromBase64(found[2]!);
      if ((await verifyNote(note, [log])).length > 0) return Number(found[1]);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
    }
  }
  return undefined;
}
