/** A ledger after power cuts and full disks, at every single operation. */

import { describe, expect, test, vi } from "vitest";
import { copy, open, problems, START, step, written } from "../../../test/ledgers.ts";
import { InputError } from "../../formats/errors.ts";
import { type MemoryDisk, memoryDisk, PowerCut } from "./disk.ts";
import { readLedgerOn } from "./reader.ts";

/** Thousands of signatures are verified here; a busy machine takes its time. */
vi.setConfig({ testTimeout: 600_000 });

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
