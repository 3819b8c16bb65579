/** Verifies a whole ledger: every entry, every tile, every head, every file. Mends nothing. */

import { InputError } from "../../formats/errors.ts";
import { joinBytes, sameBytes, toHex } from "../sign/encoding.ts";
import { sha256 } from "../sign/sha256.ts";
import { openCheckpoint, type VerifiedCheckpoint } from "./checkpoint.ts";
import type { Disk } from "./disk.ts";
import { NO_ENTRY, openEntry } from "./entry.ts";
import { FILES, FOLDERS } from "./journal.ts";
import { EMPTY, type Frontier, grow, leafHash, rootOf } from "./merkle.ts";
import type { NoteVerifier, Verification } from "./note.ts";
import { type LedgerReader, readLedgerOn } from "./reader.ts";
import { decodeBundle, encodeBundle, foldHashes, partialTiles, tilePath, WIDTH } from "./tiles.ts";

/** Something that is not as it must be. */
export interface Problem {
  /** One sentence. */
  readonly what: string;
  /** File of the ledger, where it is one. */
  readonly path?: string;
  /** Entry, where it is one. */
  readonly index?: number;
}

/** How far the verification is; the last one is the verdict. */
export interface VerifyStep {
  /** Entries verified. */
  readonly checked: number;
  /** Entries under the last signed head. */
  readonly size: number;
  /** Empty so far where all is well. */
  readonly problems: readonly Problem[];
  /** Set in the last step. */
  readonly verdict?: {
    readonly head?: VerifiedCheckpoint;
    /** Witnesses who signed heads of this ledger, each with its latest. */
    readonly witnessed: readonly (Verification & { readonly size: number })[];
    /** Files that are no part of a ledger. */
    readonly strange: readonly string[];
    /** Someone has the ledger open. */
    readonly open: boolean;
  };
}

/** More are not listed: the first ones name the damage. */
const MOST_PROBLEMS = 100;

interface Options {
  /** The log's key from elsewhere; see readLedgerOn. */
  readonly log?: NoteVerifier;
  readonly witnesses?: readonly NoteVerifier[];
  readonly signal?: AbortSignal;
}

/** Verifies a ledger on a disk, a bundle at a time. Problems are yielded, not thrown. */
export async function* verifyLedgerOn(
  disk: Disk,
  { log, witnesses = [], signal }: Options = {},
): AsyncGenerator<VerifyStep> {
  const problems: Problem[] = [];
  const report = (what: string, where: Omit<Problem, "what"> = {}) => {
    if (problems.length < MOST_PROBLEMS) problems.push({ what, ...where });
  };
  const attempt = async <T>(work: () => Promise<T>, where: Omit<Problem, "what"> = {}) => {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      report(error.message, where);
      return undefined;
    }
  };
  const paths = await disk.list("");
  const open = paths.includes(FILES.lock);
  const strange: string[] = [];
  const reader = await attempt(() => readAtRest(disk, log));
  if (!reader) {
    yield { checked: 0, size: 0, problems, verdict: { witnessed: [], strange, open } };
    return;
  }
  const { head, tail } = reader;
  if (tail.torn.length > 0)
    report(
      `its end is torn: ${tail.torn.length} bytes after entry ${tail.size - 1} are no whole record; opening the ledger to append mends it`,
      { path: FILES.journal },
    );
  if (tail.open > 0)
    report(`its last ${tail.open} entries have no signed head; opening it to append mends it`, {
      path: FILES.journal,
    });

  const heads = await readHeads(disk, { reader, paths, witnesses, attempt });
  const roots = new Map<number, Uint8Array>(heads.map(({ size }) => [size, new Uint8Array()]));
  if (roots.has(0)) roots.set(0, rootOf(EMPTY));

  /** Hashes by level, of full tiles below. */
  const levels: Uint8Array[][] = [];
  let frontier: Frontier = EMPTY;
  let prev = NO_ENTRY;
  const partials = paths.filter((path) => path.includes(".p/"));
  for (let bundle = 0; bundle * WIDTH < tail.size; bundle++) {
    signal?.throwIfAborted();
    const path = tilePath("entries", bundle);
    const entries = await attempt(() => bundleEntries(disk, reader, bundle), { path });
    if (!entries) {
      report(`entries from ${bundle * WIDTH} on cannot be followed`, { path });
      break;
    }
    const leaves: Uint8Array[] = [];
    for (const bytes of entries) {
      const index = frontier.size;
      // Those of the journal were verified while it was read.
      if (index < tail.base)
        await attempt(
          () => openEntry(bytes, { origin: reader.log.name, index, prev }, reader.log.key),
          { index },
        );
      prev = leafHash(bytes);
      leaves.push(prev);
      frontier = grow(frontier, prev);
      if (roots.has(frontier.size)) roots.set(frontier.size, rootOf(frontier));
    }
    const compare = async (file: string, wanted: Uint8Array) => {
      const found = await disk.read(file);
      if (!found) report(`${file} is missing`, { path: file });
      else if (!sameBytes(found, wanted))
        report(`${file} is not what the entries make it`, { path: file });
    };
    const full = leaves.length === WIDTH && (bundle + 1) * WIDTH <= tail.base;
    if (full) await compare(tilePath(0, bundle), joinBytes(...leaves));
    for (const file of partials) {
      const width = Number(file.slice(file.lastIndexOf("/") + 1));
      if (file === tilePath("entries", bundle, width) && width <= entries.length)
        await compare(file, encodeBundle(entries.slice(0, width)));
      if (file === tilePath(0, bundle, width) && width <= leaves.length)
        await compare(file, joinBytes(...leaves.slice(0, width)));
    }
    if (full) addUp(levels, foldHashes(leaves));
    yield { checked: frontier.size, size: tail.size, problems: [...problems] };
  }

  for (const path of paths)
    await checkFile(disk, path, { levels, tail: reader.tail, report, strange });
  for (const [level, hashes] of levels.entries())
    for (let i = 0; i < Math.floor(hashes.length / WIDTH); i++)
      if (!paths.includes(tilePath(level + 1, i)))
        report(`${tilePath(level + 1, i)} is missing`, { path: tilePath(level + 1, i) });
  for (const { size, path } of heads.filter((head) => head.path === FILES.checkpoint))
    for (const lost of neededBy(size, paths))
      report(`${lost} is missing, which ${path} needs`, { path: lost });
  const witnessed = judgeHeads(heads, { roots, size: tail.size, report });
  if (frontier.size === tail.size && tail.open === 0 && !sameBytes(rootOf(frontier), head.root))
    report("the entries do not make the root of the last head");
  const verdict = { head, witnessed, strange, open };
  yield { checked: frontier.size, size: tail.size, problems, verdict };
}

/** Opens a ledger for reading. A writer may be in the midst of a frame: then a moment later it is whole. */
async function readAtRest(disk: Disk, log?: NoteVerifier): Promise<LedgerReader> {
  for (let attempt = 0; ; attempt++) {
    const reader = await readLedgerOn(disk, { log });
    const whole = reader.tail.torn.length === 0 && reader.tail.open === 0;
    if (whole || attempt === 5 || (await disk.read(FILES.lock)) === undefined) return reader;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Adds the hash of a full tile to the level above, and so on up. */
function addUp(levels: Uint8Array[][], hash: Uint8Array): void {
  for (let level = 0, next: Uint8Array | undefined = hash; next; level++) {
    const row: Uint8Array[] = levels[level] ?? [];
    levels[level] = row;
    row.push(next);
    next = row.length % WIDTH === 0 ? foldHashes(row.slice(-WIDTH)) : undefined;
  }
}

async function bundleEntries(disk: Disk, { tail }: LedgerReader, bundle: number) {
  if (bundle * WIDTH >= tail.base) return tail.entries;
  const path = tilePath("entries", bundle);
  const bytes = await disk.read(path);
  if (!bytes) throw new InputError(`${path} is missing`);
  return decodeBundle(bytes, WIDTH, path);
}

type Attempt = <T>(work: () => Promise<T>, where?: Omit<Problem, "what">) => Promise<T | undefined>;

interface PublishedHead extends VerifiedCheckpoint {
  readonly path: string;
}

/** Partial tiles that a published head needs and that are not there, nor the full ones in their place. */
function neededBy(size: number, paths: readonly string[]): string[] {
  return partialTiles(size).flatMap(({ level, index, width }) =>
    (level === 0 ? ([0, "entries"] as const) : [level]).flatMap((l) =>
      paths.includes(tilePath(l, index, width)) || paths.includes(tilePath(l, index))
        ? []
        : [tilePath(l, index, width)],
    ),
  );
}

/** Heads that were given to others: the published one and those that witnesses signed. */
async function readHeads(
  disk: Disk,
  {
    reader,
    paths,
    witnesses,
    attempt,
  }: {
    reader: LedgerReader;
    paths: readonly string[];
    witnesses: readonly NoteVerifier[];
    attempt: Attempt;
  },
): Promise<PublishedHead[]> {
  const found: PublishedHead[] = [];
  for (const path of paths) {
    if (path.endsWith(".part")) continue;
    if (path !== FILES.checkpoint && !path.startsWith(`${FOLDERS.cosigned}/`)) continue;
    const head = await attempt(
      async () => openCheckpoint((await disk.read(path))!, reader.log, { witnesses, what: path }),
      { path },
    );
    if (head) found.push({ ...head, path });
  }
  return found;
}

function judgeHeads(
  heads: readonly PublishedHead[],
  {
    roots,
    size,
    report,
  }: {
    roots: ReadonlyMap<number, Uint8Array>;
    size: number;
    report: (what: string, where: Omit<Problem, "what">) => void;
  },
) {
  const latest = new Map<string, Verification & { size: number }>();
  for (const head of heads) {
    const { path } = head;
    const root = roots.get(head.size);
    if (head.size > size)
      report(`the ledger was cut: ${path} was signed over ${head.size} entries, ${size} are left`, {
        path,
      });
    else if (!root || !sameBytes(root, head.root))
      report(
        `history was rewritten: the first ${head.size} entries are not those signed in ${path}`,
        {
          path,
        },
      );
    else
      for (const cosignature of head.cosignatures) {
        const { name } = cosignature.verifier;
        if ((latest.get(name)?.size ?? -1) < head.size)
          latest.set(name, { ...cosignature, size: head.size });
      }
  }
  return [...latest.values()];
}

/** Files besides entries and heads: tiles of higher levels, attached files, torn ends, and strangers. */
async function checkFile(
  disk: Disk,
  path: string,
  {
    levels,
    tail,
    report,
    strange,
  }: {
    levels: readonly Uint8Array[][];
    tail: { base: number; size: number };
    report: (what: string, where: Omit<Problem, "what">) => void;
    strange: string[];
  },
): Promise<void> {
  if (Object.values<string>(FILES).includes(path) || path.startsWith(`${FOLDERS.cosigned}/`))
    return;
  // What a killed writer had not renamed yet: never read.
  if (path.endsWith(".part")) return;
  const kept = /^(blobs|torn)\/([0-9a-f]{64})$/.exec(path);
  if (kept) {
    const bytes = await disk.read(path);
    if (!bytes || toHex(sha256(bytes)) !== kept[2])
      report(`${path} is not the file it was when it was put there`, { path });
    return;
  }
  const tile = /^tile\/(\d+|entries)\/((?:x\d{3}\/)*\d{3})(?:\.p\/(\d+))?$/.exec(path);
  if (!tile) {
    strange.push(path);
    return;
  }
  const index = Number(tile[2]!.replaceAll(/[x/]/g, ""));
  const width = tile[3] === undefined ? WIDTH : Number(tile[3]);
  const level = tile[1] === "entries" ? 0 : Number(tile[1]);
  if (tilePath(tile[1] === "entries" ? "entries" : level, index, width) !== path || width === 0) {
    strange.push(path);
    return;
  }
  const limit = level === 0 ? tail.size : (levels[level - 1]?.length ?? 0);
  if (index * WIDTH + width > limit) {
    report(`${path} is beyond the ledger's end; entries were removed`, { path });
    return;
  }
  if (level === 0) return; // compared with the entries already
  const wanted = joinBytes(...levels[level - 1]!.slice(index * WIDTH, index * WIDTH + width));
  const found = await disk.read(path);
  if (!found || !sameBytes(found, wanted))
    report(`${path} is not what the entries make it`, { path });
}
