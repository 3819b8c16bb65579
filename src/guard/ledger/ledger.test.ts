/** A ledger written, read, proved, witnessed, crashed at every operation, and altered at every byte. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { InputError } from "../../formats/errors.ts";
import { toHex, utf8 } from "../sign/encoding.ts";
import { generateKey, type PrivateKey } from "../sign/keys.ts";
import { sha256 } from "../sign/sha256.ts";
import { type Disk, type MemoryDisk, memoryDisk, PowerCut } from "./disk.ts";
import type { LedgerEntry } from "./entry.ts";
import { TamperError } from "./journal.ts";
import { type LedgerOptions, openLedgerOn } from "./ledger.ts";
import { grow, leafHash, memorySubtrees, rootOf, treeRoot, verifyConsistency } from "./merkle.ts";
import { openLedger } from "./node.ts";
import { NOTE_TYPE, noteVerifier } from "./note.ts";
import { formatProof, parseProof, proveEntry, verifyProof } from "./proof.ts";
import { readLedgerOn } from "./reader.ts";
import {
  decodeBundle,
  encodeBundle,
  foldHashes,
  partialTiles,
  tilePath,
  tileSubtrees,
} from "./tiles.ts";
import { type VerifyStep, verifyLedgerOn } from "./verify.ts";
import {
  addCheckpoint,
  formatRequest,
  formatState,
  parseRequest,
  parseState,
  requestFor,
  type WitnessState,
  watch,
} from "./witness.ts";

/** Thousands of signatures are verified here; a busy machine takes its time. */
vi.setConfig({ testTimeout: 600_000 });

const HASH = toHex(sha256(utf8("anything")));
const START: LedgerEntry = {
  kind: "run-start",
  facts: {
    code: HASH,
    environment: { host: "test" },
    config: { depth: 4, learningRate: 1e-4 },
    dataRoot: HASH,
    seed: "42",
    stateRoot: HASH,
  },
};
const step = (n: number): LedgerEntry => ({ kind: "step", facts: { step: n, loss: 1 / (n + 1) } });

let key: PrivateKey;
beforeAll(async () => {
  key = await generateKey();
});

const open = (disk: Disk, options: Partial<LedgerOptions> = {}) =>
  openLedgerOn(disk, { key, origin: "example.com/run", ...options });

/** A closed ledger of `size` entries. */
async function written(size: number, disk = memoryDisk(), options: Partial<LedgerOptions> = {}) {
  const ledger = await open(disk, options);
  const all = [];
  for (let i = ledger.size; i < size; i++) all.push(ledger.append(i === 0 ? START : step(i)));
  await Promise.all(all);
  await ledger.close();
  return disk;
}

const copy = (disk: MemoryDisk) => memoryDisk(new Map(disk.files));

async function verdict(
  disk: Disk,
  options: Parameters<typeof verifyLedgerOn>[1] = {},
): Promise<VerifyStep> {
  let last: VerifyStep | undefined;
  for await (const found of verifyLedgerOn(disk, options)) last = found;
  return last!;
}

const problems = async (disk: Disk) => (await verdict(disk)).problems.map((p) => p.what);

describe("a ledger", () => {
  test("what is appended is read back, in order, verified", async () => {
    const disk = memoryDisk();
    let now = 1000;
    const ledger = await open(disk, { clock: () => now++ });
    const first = await ledger.append(START);
    const receipts = await Promise.all(Array.from({ length: 9 }, (_, i) => ledger.append(step(i))));
    expect(receipts.map((r) => r.index)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(ledger.size).toBe(10);
    await ledger.append({
      kind: "event",
      facts: { event: "alarm", what: "loss" },
      subjects: { batch: HASH },
    });
    await ledger.append({ kind: "run-end", facts: { reason: "done" } });
    await ledger.close();
    const reader = await readLedgerOn(disk, { log: ledger.log });
    const records = [];
    for await (const record of reader.records()) records.push(record);
    expect(records).toHaveLength(12);
    expect(records[0]).toMatchObject({ kind: "run-start", index: 0, time: 1000, leaf: first.leaf });
    expect(records[0]!.facts).toMatchObject({
      seed: "42",
      config: { depth: 4, learningRate: 1e-4 },
    });
    expect(records[3]).toMatchObject({ kind: "step", time: 1003, facts: { step: 2, loss: 1 / 3 } });
    // What an entry is about: the run, by its first entry, unless said otherwise.
    expect(records[3]!.subjects).toEqual({ "example.com/run": toHex(first.leaf) });
    expect(records[10]!.subjects).toEqual({ batch: HASH });
    expect(ledger.head().root).toEqual(reader.head.root);
    expect(await problems(disk)).toEqual([]);
  });

  test("numbers that JSON cannot say are written as words, arrays of floats as numbers", async () => {
    const disk = memoryDisk();
    const ledger = await open(disk);
    await ledger.append(START);
    const facts = {
      step: 0,
      loss: Number.NaN,
      sketch: Float32Array.of(0.1, Number.POSITIVE_INFINITY),
    };
    await ledger.append({ kind: "step", facts });
    await ledger.close();
    for await (const { facts } of (await readLedgerOn(disk)).records(1))
      expect(facts).toEqual({ step: 0, loss: "NaN", sketch: [Math.fround(0.1), "Infinity"] });
  });

  test("entries that lack what their kind must say are refused, and the next ones go on", async () => {
    const disk = memoryDisk();
    const ledger = await open(disk);
    await expect(ledger.append(step(0))).rejects.toThrow(/begins with a run-start/);
    await expect(ledger.append({ kind: "run-start", facts: { seed: "1" } })).rejects.toThrow(
      /needs code as hash/,
    );
    await ledger.append(START);
    await expect(ledger.append({ kind: "step", facts: {} })).rejects.toThrow(
      /needs step as number/,
    );
    await expect(ledger.append({ kind: "toString" as "step", facts: {} })).rejects.toThrow(
      /no kind/,
    );
    const long = ledger.append({ kind: "event", facts: { event: "x".repeat(70_000) } });
    const next = ledger.append(step(1));
    await expect(long).rejects.toThrow(/attach the long part/);
    expect((await next).index).toBe(1);
    const digest = await ledger.attach(utf8("long"));
    expect(digest).toBe(toHex(sha256(utf8("long"))));
    await ledger.close();
    await expect(ledger.append(step(2))).rejects.toThrow(/closed/);
    expect(await problems(disk)).toEqual([]);
  });

  test("publishing while others append shows one whole size each time", async () => {
    const disk = memoryDisk();
    const ledger = await open(disk, { publishEvery: 3 });
    await ledger.append(START);
    const work: Promise<unknown>[] = [];
    for (let i = 0; i < 40; i++) {
      work.push(ledger.append(step(i)));
      if (i % 5 === 0) work.push(ledger.publish());
      if (i % 7 === 0) await work[i];
    }
    await Promise.all(work);
    await ledger.close();
    expect((await readLedgerOn(disk)).head.size).toBe(41);
    expect(await problems(disk)).toEqual([]);
  });

  test("another key, another name and a second writer are refused", async () => {
    const disk = await written(2);
    await expect(open(disk, { key: await generateKey() })).rejects.toThrow(/another key/);
    await expect(open(disk, { origin: "example.com/other" })).rejects.toThrow(/another/);
    const ledger = await open(disk);
    await expect(open(disk)).rejects.toThrow(/open already/);
    await ledger.close();
    await (await open(disk, { origin: undefined })).close();
    await expect(open(memoryDisk(), { key: await generateKey("p256") })).rejects.toThrow(/Ed25519/);
  });

  test("over many bundles, opened again and again, tree and proofs stay right", async () => {
    const disk = memoryDisk();
    for (const size of [1, 256, 300, 512, 600]) {
      await written(size, disk, { publishEvery: 40 });
      const reader = await readLedgerOn(disk);
      expect(reader.head.size).toBe(size);
      const leaves: Uint8Array[] = [];
      for (let i = 0; i < size; i++) leaves.push(leafHash(await reader.entry(i)));
      expect(await treeRoot(memorySubtrees(leaves), size)).toEqual(reader.head.root);
      for (const index of [0, size >> 1, size - 1]) {
        const text = formatProof(await proveEntry(reader, index));
        const found = await verifyProof(parseProof(utf8(text)), reader.log);
        expect(found.entry).toEqual(await reader.entry(index));
      }
      expect(await problems(disk)).toEqual([]);
    }
    // C2SP layout: full tiles without, partial ones with their width.
    expect([...disk.files.keys()].filter((p) => p.startsWith("tile/")).sort()).toEqual([
      "tile/0/000",
      "tile/0/001",
      "tile/0/002.p/88",
      "tile/1/000.p/1",
      "tile/1/000.p/2",
      "tile/entries/000",
      "tile/entries/001",
      "tile/entries/002.p/88",
    ]);
  });

  test("a proof with any byte altered is no proof", async () => {
    const reader = await readLedgerOn(await written(5));
    const good = utf8(formatProof(await proveEntry(reader, 3)));
    const head = good.length - 300;
    for (let at = 0; at < good.length; at += at > 60 && at < head ? 11 : 1) {
      const bent = Uint8Array.from(good);
      bent[at]! ^= 1;
      await expect((async () => verifyProof(parseProof(bent), reader.log))()).rejects.toThrow(
        InputError,
      );
    }
  });
});

describe("tiles", () => {
  test("paths are those of the specification's examples", () => {
    expect(tilePath(0, 1234067)).toBe("tile/0/x001/x234/067");
    expect(tilePath("entries", 0, 5)).toBe("tile/entries/000.p/5");
    expect(tilePath(2, 1000)).toBe("tile/2/x001/000");
    // "a tree of size 70,000": 273 full level 0 tiles, one partial of width 112, and so on.
    expect(partialTiles(70_000)).toEqual([
      { level: 0, index: 273, width: 112 },
      { level: 1, index: 1, width: 17 },
      { level: 2, index: 0, width: 1 },
    ]);
    expect(partialTiles(256)).toEqual([{ level: 1, index: 0, width: 1 }]);
  });

  test("a tree of 70,000 leaves read from three levels of tiles has the right root and proofs", async () => {
    const leaves = Array.from({ length: 70_000 }, (_, i) =>
      leafHash(Uint8Array.of(i & 255, i >> 8, i >> 16)),
    );
    const levels = [leaves];
    while (levels.at(-1)!.length >= 256) {
      const row = levels.at(-1)!;
      levels.push(
        Array.from({ length: Math.floor(row.length / 256) }, (_, i) =>
          foldHashes(row.slice(i * 256, i * 256 + 256)),
        ),
      );
    }
    const read = async (level: number, index: number, width: number) =>
      levels[level]!.slice(index * 256, index * 256 + width);
    const subtrees = tileSubtrees(read, leaves.length);
    let tree = { size: 0, subtrees: [] as readonly Uint8Array[] };
    for (const leaf of leaves) tree = grow(tree, leaf);
    expect(await treeRoot(subtrees, leaves.length)).toEqual(rootOf(tree));
  });

  test("bundles survive, and damaged ones are refused", () => {
    const entries = [new Uint8Array(), utf8("a"), new Uint8Array(65_535)];
    expect(decodeBundle(encodeBundle(entries), 3, "bundle")).toEqual(entries);
    expect(() => encodeBundle([new Uint8Array(65_536)])).toThrow(RangeError);
    for (const bytes of [[0], [0, 2, 1], [1, 0]])
      expect(() => decodeBundle(Uint8Array.from(bytes), 1, "bundle")).toThrow(InputError);
    expect(() => decodeBundle(encodeBundle(entries), 2, "bundle")).toThrow(/wanted 2/);
  });
});

describe("after a power cut", () => {
  /** Appends six entries over the edge of a bundle, noting which were acknowledged. */
  async function work(disk: MemoryDisk): Promise<number> {
    let acknowledged = disk.files.size === 0 ? 0 : 252;
    const ledger = await open(disk, { publishEvery: 2 });
    for (let i = ledger.size; i < 258; i++) {
      await ledger.append(i === 0 ? START : step(i));
      acknowledged = i + 1;
    }
    await ledger.close();
    return acknowledged;
  }

  test("at every single operation, whatever was acknowledged is there, whole, and goes on", async () => {
    const before = await written(252);
    const count = copy(before);
    await work(count);
    expect(count.operations).toBeGreaterThan(15);
    for (let crashAt = 1; crashAt <= count.operations; crashAt++)
      for (const kept of [[0], [0.4], [1]][crashAt % 3]!) {
        const disk = copy(before);
        disk.crashAt = crashAt;
        let acknowledged = 252;
        try {
          const ledger = await open(disk, { publishEvery: 2 });
          for (let i = ledger.size; i < 258; i++) {
            await ledger.append(step(i));
            acknowledged = i + 1;
          }
          await ledger.close();
        } catch (error) {
          expect(`${(error as Error).name} ${(error as Error).message}`).toMatch(/PowerCut|power/);
        }
        const left = disk.afterCrash(kept);
        const again = await open(left);
        expect(again.size).toBeGreaterThanOrEqual(acknowledged);
        // The torn bytes are not lost without a word.
        const told = again.cut > 0 ? 1 : 0;
        expect(again.size).toBeLessThanOrEqual(258 + told);
        await again.append(step(1000));
        await again.close();
        expect(await problems(left)).toEqual([]);
        if (told) {
          const reader = await readLedgerOn(left);
          const events = [];
          for await (const record of reader.records(252))
            if (record.kind === "event") events.push(record.facts);
          expect(events).toMatchObject([{ event: "torn-tail" }]);
        }
      }
  });

  test("while a ledger is begun, it can be begun again", async () => {
    const count = memoryDisk();
    await written(1, count);
    for (let crashAt = 1; crashAt <= count.operations; crashAt++)
      for (const kept of [0, 0.5, 1]) {
        const disk = memoryDisk();
        disk.crashAt = crashAt;
        await written(1, disk).catch((error) => expect(`${error}`).toMatch(/power/));
        const left = disk.afterCrash(kept);
        await written(2, left);
        expect(await problems(left)).toEqual([]);
      }
  });

  test("when the disk is full at any operation, appends are refused and nothing is lost", async () => {
    const before = await written(252);
    const count = copy(before);
    await work(count);
    for (let failAt = 1; failAt <= count.operations; failAt++) {
      const disk = copy(before);
      disk.failAt = failAt;
      let acknowledged = 252;
      try {
        const ledger = await open(disk, { publishEvery: 2 });
        try {
          for (let i = ledger.size; i < 258; i++) {
            await ledger.append(step(i));
            acknowledged = i + 1;
          }
        } finally {
          await ledger.close();
        }
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
        expect(error).not.toBeInstanceOf(PowerCut);
      }
      const left = copy(disk);
      const again = await open(left);
      expect(again.size).toBeGreaterThanOrEqual(acknowledged);
      await again.close();
      expect(await problems(left)).toEqual([]);
    }
  });

  test("with sync by the system, no published head outlives its entries", async () => {
    const count = memoryDisk();
    await written(8, count, { sync: "system", publishEvery: 3 });
    for (let crashAt = 3; crashAt <= count.operations; crashAt++) {
      const disk = memoryDisk();
      disk.crashAt = crashAt;
      await written(8, disk, { sync: "system", publishEvery: 3 }).catch(() => {});
      const left = disk.afterCrash(0);
      await (await open(left)).close();
      expect(await problems(left)).toEqual([]);
    }
  });
});

describe("tampering", () => {
  test("every byte of a small ledger: one bit flipped anywhere is found", async () => {
    const disk = memoryDisk();
    const ledger = await open(disk);
    await ledger.append(START);
    await ledger.attach(utf8("a file"));
    await ledger.append(step(1));
    await ledger.close();
    expect(await problems(disk)).toEqual([]);
    const missed: string[] = [];
    for (const [path, bytes] of disk.files)
      for (let at = 0; at < bytes.length; at++) {
        const bent = copy(disk);
        bent.files.set(path, bytes.with(at, bytes[at]! ^ (1 << (at % 8))));
        if ((await problems(bent)).length === 0) missed.push(`${path} ${at}`);
      }
    expect(missed).toEqual([]);
  });

  test("a journal cut at any byte below what was published is found, by reading and by opening", async () => {
    const disk = await written(4);
    const journal = disk.files.get("journal")!;
    const last = journal.length - 5 - disk.files.get("checkpoint")!.length;
    for (let size = 0; size < journal.length; size += size > journal.length - 300 ? 1 : 37) {
      const cut = copy(disk);
      cut.files.set("journal", journal.slice(0, size));
      expect(await problems(cut)).not.toEqual([]);
      if (size < last) await expect(open(cut)).rejects.toThrow(TamperError);
      else {
        // Only the last head is gone, and every entry is there: it is signed again.
        const again = await open(cut);
        expect(again.size).toBe(size === last ? 4 : 5);
        await again.close();
        expect(await problems(cut)).toEqual([]);
      }
    }
  });

  test("damage before a later signed head is no torn end: the ledger is not opened", async () => {
    const disk = memoryDisk();
    const ledger = await open(disk, { publishEvery: 1000 });
    await ledger.append(START);
    for (let i = 1; i < 4; i++) await ledger.append(step(i));
    // As a killed writer leaves it: nothing published but the first head.
    const journal = disk.files.get("journal")!;
    const bent = memoryDisk(new Map(disk.files));
    const heads = journal.length - 260;
    for (let at = 300; at < heads; at += 61) {
      bent.files.set("journal", journal.with(at, journal[at]! ^ 2));
      await expect(open(bent)).rejects.toThrow(TamperError);
    }
    // Only damage in the very last head cannot be told from a torn write; its bytes are kept and told of.
    bent.files.set("journal", journal.with(journal.length - 20, journal.at(-20)! ^ 2));
    const again = await open(bent);
    expect(again.cut).toBeGreaterThan(0);
    await again.close();
    expect([...bent.files.keys()].some((path) => path.startsWith("torn/"))).toBe(true);
    expect(await problems(bent)).toEqual([]);
  });

  test("entries exchanged, repeated or left out are found, though each is rightly signed", async () => {
    const disk = await written(300, memoryDisk(), { publishEvery: 1000 });
    const bundle = decodeBundle(disk.files.get("tile/entries/000")!, 256, "bundle");
    const swap = [...bundle];
    [swap[7], swap[8]] = [swap[8]!, swap[7]!];
    for (const [other, at] of [
      [swap, 7],
      [bundle.with(9, bundle[8]!), 9],
    ] as const) {
      const bent = copy(disk);
      bent.files.set("tile/entries/000", encodeBundle(other));
      expect((await problems(bent)).join()).toMatch(
        /moved|altered|follows another|not what the entries/,
      );
      const reader = await readLedgerOn(bent);
      await expect(reader.entry(at)).rejects.toThrow(/not the one in the tree/);
    }
    for (const path of [
      "tile/entries/000",
      "tile/0/000",
      "tile/1/000.p/1",
      "journal",
      "key.pub",
      "tile/0/001.p/44",
    ]) {
      const bent = copy(disk);
      bent.files.delete(path);
      expect(await problems(bent), path).not.toEqual([]);
    }
  });

  test("a verifier with the key from elsewhere refuses a ledger that was written anew with another", async () => {
    const disk = await written(2);
    const other = memoryDisk();
    await written(2, other, { key: await generateKey() });
    const { log } = await readLedgerOn(disk);
    expect((await verdict(disk, { log })).problems).toEqual([]);
    expect((await verdict(other)).problems).toEqual([]);
    expect((await verdict(other, { log })).problems[0]!.what).toMatch(/it is another one/);
  });

  test("random bytes in the journal's place never throw anything but InputError", async () => {
    const disk = await written(3);
    const journal = disk.files.get("journal")!;
    for (let seed = 0; seed < 40; seed++) {
      const bent = copy(disk);
      const noise = sha256(Uint8Array.of(seed));
      const at = (noise[0]! * 7919) % journal.length;
      bent.files.set(
        "journal",
        Uint8Array.from([...journal.slice(0, at), ...noise, ...journal.slice(at + seed)]),
      );
      expect((await problems(bent)).length).toBeGreaterThan(0);
    }
  });
});

describe("a witness", () => {
  const asked = async (disk: Disk, state: WitnessState, by: PrivateKey) => {
    const reader = await readLedgerOn(disk);
    const request = await requestFor(reader, state.get("example.com/run")?.size ?? 0);
    const sent = parseRequest(utf8(formatRequest(request)));
    return addCheckpoint(state, sent, { signer: by, name: "witness.example", time: 1700000000 });
  };

  test("signs heads that continue the last, and its cosignature verifies", async () => {
    const by = await generateKey();
    const disk = await written(3);
    const { log } = await readLedgerOn(disk);
    expect(await asked(disk, new Map(), by)).toMatchObject({ status: 404 });
    let state = watch(new Map(), log);
    for (const size of [3, 3, 40, 257, 300]) {
      await written(size, disk);
      const answer = await asked(disk, state, by);
      expect(answer.status).toBe(200);
      state = parseState(formatState(answer.state!));
      const reader = await readLedgerOn(disk);
      const note = new TextDecoder().decode((await disk.read("checkpoint"))!);
      await disk.replace("cosigned/witness", utf8(note + answer.body));
      const witness = noteVerifier("witness.example", by.publicKey, NOTE_TYPE.cosignature);
      const found = await verdict(disk, { log, witnesses: [witness] });
      expect(found.problems).toEqual([]);
      expect(found.verdict!.witnessed).toMatchObject([
        { size: reader.head.size, time: 1700000000 },
      ]);
    }
  });

  test("refuses a rewritten history, a rollback, a wrong proof and another's signature", async () => {
    const by = await generateKey();
    const disk = await written(20);
    const { log } = await readLedgerOn(disk);
    const answer = await asked(disk, watch(new Map(), log), by);
    const state = answer.state!;
    // The owner of the key writes another history of the same name: longer, as long, and shorter.
    for (const size of [30, 20, 10]) {
      const fork = memoryDisk();
      await written(size, fork, { clock: () => 5 });
      const refused = await asked(fork, state, by);
      expect(refused.status).toBe(size === 30 ? 422 : size === 20 ? 409 : 400);
      expect(refused.state).toBeUndefined();
      expect(verifyConsistency(state.get(log.name)!, (await readLedgerOn(fork)).head, [])).toBe(
        false,
      );
    }
    await written(25, disk);
    const reader = await readLedgerOn(disk);
    const request = await requestFor(reader, 20);
    const time = 1700000000;
    const as = { signer: by, name: "witness.example", time };
    expect(await addCheckpoint(state, { ...request, old: 3 }, as)).toMatchObject({
      status: 409,
      body: "20\n",
    });
    expect(await addCheckpoint(state, { ...request, proof: [] }, as)).toMatchObject({
      status: 422,
    });
    const stranger = memoryDisk();
    await written(25, stranger, { key: await generateKey() });
    expect(await asked(stranger, state, by)).toMatchObject({ status: 403 });
    expect(await addCheckpoint(state, request, as)).toMatchObject({ status: 200 });
  });

  test("a ledger cut back behind a witnessed head is found", async () => {
    const by = await generateKey();
    const disk = await written(20);
    const old = copy(disk);
    await written(30, disk);
    const { log } = await readLedgerOn(disk);
    const answer = await asked(disk, watch(new Map(), log), by);
    const note = new TextDecoder().decode((await disk.read("checkpoint"))!);
    await old.replace("cosigned/witness", utf8(note + answer.body));
    expect((await problems(old)).join()).toMatch(/was cut/);
    await expect(open(old)).rejects.toThrow(/was cut/);
    const fork = memoryDisk();
    await written(40, fork, { clock: () => 5 });
    await fork.replace("cosigned/witness", utf8(note + answer.body));
    expect((await problems(fork)).join()).toMatch(/history was rewritten/);
  });

  test("a damaged state is refused, not begun anew", () => {
    for (const text of ["", "[]", '{"a":1}', '{"a":{"log":"x","root":"","size":0}}'])
      expect(() => parseState(utf8(text))).toThrow(InputError);
  });
});

test("in a folder on disk: opened twice it is refused, after a killed process it opens", async () => {
  const folder = await mkdtemp(join(tmpdir(), "underpaint-ledger-"));
  try {
    const ledger = await openLedger(folder, { key });
    await ledger.append(START);
    await expect(openLedger(folder, { key })).rejects.toThrow(/has the ledger open/);
    await ledger.close();
    // No process has this id: Linux counts to 2^22.
    await writeFile(join(folder, "lock"), "99999999\n");
    const again = await openLedger(folder, { key });
    for (let i = 1; i < 260; i++) void again.append(step(i));
    await again.close();
    const { folderDisk } = await import("./disk.node.ts");
    const found = await verdict(folderDisk(folder));
    expect(found.problems).toEqual([]);
    expect(found.size).toBe(260);
  } finally {
    await rm(folder, { recursive: true });
  }
});
