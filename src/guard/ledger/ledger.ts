/** The ledger of a run: appends signed entries and heads, durably and in groups. Reading is reader.ts. */

import { InputError } from "../../formats/errors.ts";
import { joinBytes, toHex } from "../sign/encoding.ts";
import type { Signer } from "../sign/keys.ts";
import { sha256 } from "../sign/sha256.ts";
import { parseCheckpoint, signCheckpoint } from "./checkpoint.ts";
import type { Disk } from "./disk.ts";
import { checkEntry, type Kind, type LedgerEntry, signEntry } from "./entry.ts";
import { diskTiles, entryFrame, FILES, FOLDERS, headFrame, type Tail } from "./journal.ts";
import { type Frontier, grow, leafHash, rootOf, type TreeHead } from "./merkle.ts";
import type { NoteVerifier } from "./note.ts";
import { begin, checkPublished, logOf } from "./opening.ts";
import { encodeBundle, filledTiles, foldHashes, partialTiles, tilePath, WIDTH } from "./tiles.ts";

/** How a ledger is opened. */
export interface LedgerOptions {
  /** The run's key, Ed25519: in memory, or a process elsewhere that signs. */
  readonly key: Signer;
  /** Name of the log, for ever the same. Default: that of the ledger, or one made from the key. */
  readonly origin?: string;
  /** Milliseconds since 1970, written into each entry. Default: entries have no time. */
  readonly clock?: () => number;
  /**
   * "group" (default): an append is acknowledged when it is on the disk; appends that come while one group is being
   * written form the next, so a slow disk makes larger groups, not a longer queue. "system": acknowledged when the
   * operating system has it, which survives kill -9 but not a power cut.
   */
  readonly sync?: "group" | "system";
  /** Milliseconds to wait for more entries before a group is written. */
  readonly groupMs?: number;
  /** Entries after which the tiles and the checkpoint for others to read are written again. */
  readonly publishEvery?: number;
}

/** Kinds that others should see at once. */
const PUBLISHED: readonly Kind[] = ["run-start", "checkpoint", "audit", "run-end"];

/** Where an entry ended up. */
export interface Receipt {
  readonly index: number;
  /** Hash of the entry in the tree. */
  readonly leaf: Uint8Array;
}

interface Waiting {
  readonly entry: LedgerEntry;
  readonly time?: number;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: unknown) => void;
}

/** An open ledger. One process has it at a time. */
export interface Ledger {
  readonly origin: string;
  /** The log's key and name; give formatVkey(ledger.log) to witnesses and verifiers. */
  readonly log: NoteVerifier;
  /** Entries with a signed head over them. */
  readonly size: number;
  /** Bytes that were cut at opening because a writer had died within them; an event entry tells of them. */
  readonly cut: number;
  /** Signs an entry and appends it. Resolves when it is as safe as `sync` says, with a signed head over it. */
  append(entry: LedgerEntry): Promise<Receipt>;
  /** The last signed head. */
  head(): TreeHead & { readonly note: string };
  /** Keeps a file's bytes beside the ledger, under their SHA-256; name that in an entry. @returns hexadecimal */
  attach(bytes: Uint8Array): Promise<string>;
  /** Waits until all appends are written. */
  flush(): Promise<void>;
  /** Writes tiles and checkpoint for others to read and witness. */
  publish(): Promise<void>;
  /** Flushes, publishes and lets go. */
  close(): Promise<void>;
}

/** Opens a ledger on a disk, or begins one. Mends what a dead writer left. @throws TamperError, InputError */
export async function openLedgerOn(disk: Disk, options: LedgerOptions): Promise<Ledger> {
  const release = await disk.lock();
  try {
    const log = await logOf(disk, options);
    const tail = await begin(disk, { ...options, log });
    await checkPublished(disk, tail, log);
    const ledger = new OpenLedger(disk, { ...options, log, tail, release });
    await ledger.recover();
    return ledger;
  } catch (error) {
    await release();
    throw error;
  }
}

class OpenLedger implements Ledger {
  readonly origin: string;
  readonly log: NoteVerifier;
  readonly cut: number;
  private readonly queue: Waiting[] = [];
  private entries: Uint8Array[];
  private leaves: Uint8Array[];
  private base: number;
  private frontier: Frontier;
  private prev: Uint8Array;
  private run?: Uint8Array;
  /** Bytes of the journal. */
  private end: number;
  private note: Uint8Array;
  private signed: TreeHead;
  /** Hashes of the tiles that are not full, by level; level 0 is `leaves`. */
  private edges: Uint8Array[][] = [];
  private published = -1;
  private working?: Promise<void>;
  private broken?: Error;
  private closed = false;
  private readonly keyid: string;

  constructor(
    private readonly disk: Disk,
    private readonly options: LedgerOptions & {
      log: NoteVerifier;
      tail: Tail;
      release: () => Promise<void>;
    },
  ) {
    const { log, tail } = options;
    this.log = log;
    this.origin = log.name;
    this.keyid = log.keyId;
    this.cut = tail.torn.length;
    this.entries = [...tail.entries];
    this.leaves = tail.records.map((record) => record.leaf);
    this.base = tail.base;
    this.frontier = tail.frontier;
    this.prev = tail.prev;
    this.run = tail.run;
    this.end = tail.end;
    this.signed = tail.head;
    this.note = new Uint8Array();
  }

  get size(): number {
    return this.signed.size;
  }

  head() {
    const { size, root } = this.signed;
    return { size, root, note: new TextDecoder().decode(this.note) };
  }

  /** After a crash: keeps the torn bytes aside, cuts them, finishes what was begun, and writes down that it did. */
  async recover(): Promise<void> {
    const { tail } = this.options;
    const read = diskTiles(this.disk);
    const shown = await this.disk.read(FILES.checkpoint);
    if (shown) this.published = parseCheckpoint(shown).size;
    for (const { level, index, width } of partialTiles(tail.base))
      this.edges[level] = [...(await read(level, index, width))];
    if (tail.torn.length > 0) {
      const digest = toHex(sha256(tail.torn));
      await this.disk.replace(`${FOLDERS.torn}/${digest}`, tail.torn);
      await this.disk.truncate(FILES.journal, tail.end);
    }
    // A head over what is there: entries may have been written whole while their head was not.
    const { size } = tail.frontier;
    const head = { size, root: rootOf(tail.frontier) };
    this.note = await signCheckpoint(this.origin, head, this.options.key);
    if (tail.open > 0) {
      await this.write(headFrame(this.note));
      this.signed = head;
    }
    if (this.leaves.length === WIDTH) await this.turnOver();
    if (tail.torn.length > 0 && size > 0)
      await this.append({
        kind: "event",
        facts: {
          event: "torn-tail",
          bytes: tail.torn.length,
          sha256: toHex(sha256(tail.torn)),
          at: tail.end,
        },
      });
  }

  append(entry: LedgerEntry): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      if (this.closed) throw new InputError("the ledger is closed; open it again to append");
      checkEntry(entry);
      if (
        this.frontier.size + this.queue.length === 0 &&
        !this.working &&
        entry.kind !== "run-start"
      )
        throw new InputError(`a ledger begins with a run-start entry, not with ${entry.kind}`);
      const time = this.options.clock?.();
      this.queue.push({ entry, time, resolve, reject });
      this.working ??= this.work();
    });
  }

  /** Writes group after group until nothing waits. */
  private async work(): Promise<void> {
    const { groupMs = 0, publishEvery = 64 } = this.options;
    try {
      while (this.queue.length > 0) {
        if (groupMs > 0) await new Promise((resolve) => setTimeout(resolve, groupMs));
        const group = this.queue.splice(0, WIDTH - this.leaves.length);
        try {
          if (this.broken) throw this.broken;
          await this.commit(group);
        } catch (error) {
          this.broken ??= new InputError(
            `the ledger cannot be written: ${(error as Error).message}; open it again`,
            { cause: error },
          );
          for (const { reject } of [...group, ...this.queue.splice(0)]) reject(error);
          continue;
        }
        // The group is safe; what follows is for readers.
        try {
          const shown = group.some(({ entry }) => PUBLISHED.includes(entry.kind));
          if (this.leaves.length === WIDTH) await this.turnOver();
          else if (shown || this.size - this.published >= publishEvery) await this.show();
        } catch (error) {
          this.broken = error as Error;
        }
      }
    } finally {
      this.working = undefined;
    }
  }

  /** Signs a group, writes it with a head over it, and only then believes it. */
  private async commit(group: readonly Waiting[]): Promise<void> {
    const { key } = this.options;
    let { frontier, prev, run } = this;
    const entries: Uint8Array[] = [];
    const receipts: (() => void)[] = [];
    for (const { entry, time, resolve, reject } of group) {
      const index = frontier.size;
      let bytes: Uint8Array;
      try {
        const place = { origin: this.origin, index, prev, time };
        bytes = await signEntry(entry, place, { signer: key, keyid: this.keyid, run });
      } catch (error) {
        // This entry alone is refused: nothing of it was written.
        reject(error);
        continue;
      }
      const leaf = leafHash(bytes);
      entries.push(bytes);
      frontier = grow(frontier, leaf);
      prev = leaf;
      run ??= leaf;
      receipts.push(() => resolve({ index, leaf }));
    }
    if (entries.length === 0) return;
    const head = { size: frontier.size, root: rootOf(frontier) };
    const note = await signCheckpoint(this.origin, head, key);
    await this.write(joinBytes(...entries.map(entryFrame), headFrame(note)));
    for (const bytes of entries) {
      this.entries.push(bytes);
      this.leaves.push(leafHash(bytes));
    }
    Object.assign(this, { frontier, prev, run, note, signed: head });
    for (const acknowledge of receipts) acknowledge();
  }

  private async write(bytes: Uint8Array): Promise<void> {
    const sync = this.options.sync !== "system";
    await this.disk.write(FILES.journal, bytes, { at: this.end, sync });
    this.end += bytes.length;
  }

  /** The bundle is full: its tiles are written, then the journal begins anew. Each step may be done twice. */
  private async turnOver(): Promise<void> {
    const { disk } = this;
    const size = this.base + WIDTH;
    await this.settle();
    await disk.replace(tilePath("entries", this.base / WIDTH), encodeBundle(this.entries));
    this.edges[0] = this.leaves;
    const filled = filledTiles(size);
    for (const { level, index } of filled) {
      const hashes = this.edges[level]!;
      await disk.replace(tilePath(level, index), joinBytes(...hashes));
      this.edges[level] = [];
      this.edges[level + 1] = [...(this.edges[level + 1] ?? []), foldHashes(hashes)];
    }
    for (const { level, index, width } of partialTiles(size))
      await disk.replace(tilePath(level, index, width), joinBytes(...this.edges[level]!));
    await disk.replace(FILES.checkpoint, this.note);
    const journal = headFrame(this.note);
    await disk.replace(FILES.journal, journal);
    this.published = size;
    this.base = size;
    this.entries = [];
    this.leaves = [];
    this.end = journal.length;
    // Partial tiles may go once the full one is there (tlog-tiles, "Partial Tiles").
    const stale = filled.flatMap(({ level, index }) =>
      level === 0 ? [tilePath(0, index), tilePath("entries", index)] : [tilePath(level, index)],
    );
    for (const path of stale)
      for (const old of await disk.list(`${path}.p`)) await disk.remove(old);
  }

  /** A published head must not outlive its entries: what only the system has is brought to the disk first. */
  private async settle(): Promise<void> {
    if (this.options.sync === "system")
      await this.disk.write(FILES.journal, new Uint8Array(), { at: this.end, sync: true });
  }

  /** Tiles of the tree as it is, then the checkpoint that needs them. */
  private async show(): Promise<void> {
    const { disk, base } = this;
    if (this.published === this.size) return;
    await this.settle();
    const width = this.leaves.length;
    if (width > 0) {
      const index = base / WIDTH;
      await disk.replace(tilePath("entries", index, width), encodeBundle(this.entries));
      await disk.replace(tilePath(0, index, width), joinBytes(...this.leaves));
    }
    await disk.replace(FILES.checkpoint, this.note);
    this.published = this.size;
  }

  async attach(bytes: Uint8Array): Promise<string> {
    const digest = toHex(sha256(bytes));
    await this.disk.replace(`${FOLDERS.blobs}/${digest}`, bytes);
    return digest;
  }

  async flush(): Promise<void> {
    while (this.working) await this.working;
    if (this.broken) throw this.broken;
  }

  async publish(): Promise<void> {
    await this.flush();
    while (this.working) await this.working;
    // Appends that come meanwhile wait: tiles and checkpoint must be of one size.
    this.working = this.show().finally(() => {
      this.working = this.queue.length > 0 ? this.work() : undefined;
    });
    await this.working;
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    try {
      await this.publish();
    } finally {
      await this.options.release();
    }
  }
}
