/** A ledger altered: every byte, every cut, entries moved. All of it is found. */

import { describe, expect, test, vi } from "vitest";
import { copy, open, problems, START, step, verdict, written } from "../../../test/ledgers.ts";
import { utf8 } from "../sign/encoding.ts";
import { generateKey } from "../sign/keys.ts";
import { sha256 } from "../sign/sha256.ts";
import { memoryDisk } from "./disk.ts";
import { TamperError } from "./journal.ts";
import { readLedgerOn } from "./reader.ts";
import { decodeBundle, encodeBundle } from "./tiles.ts";

/** Thousands of signatures are verified here; a busy machine takes its time. */
vi.setConfig({ testTimeout: 600_000 });

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
