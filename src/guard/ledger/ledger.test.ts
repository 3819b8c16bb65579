/** A ledger written, read, opened again, proved, in memory and in a folder. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { HASH, key, open, problems, START, step, verdict, written } from "../../../test/ledgers.ts";
import { InputError } from "../../formats/errors.ts";
import { toHex, utf8 } from "../sign/encoding.ts";
import { generateKey } from "../sign/keys.ts";
import { sha256 } from "../sign/sha256.ts";
import { memoryDisk } from "./disk.ts";
import { leafHash, memorySubtrees, treeRoot } from "./merkle.ts";
import { openLedger } from "./node.ts";
import { formatProof, parseProof, proveEntry, verifyProof } from "./proof.ts";
import { readLedgerOn } from "./reader.ts";

/** Thousands of signatures are verified here; a busy machine takes its time. */
vi.setConfig({ testTimeout: 600_000 });

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
