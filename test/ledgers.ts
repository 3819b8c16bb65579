/** Ledgers for tests: written, copied, verified, in memory. Tests nothing itself. */

import { type Disk, type MemoryDisk, memoryDisk } from "../src/guard/ledger/disk.ts";
import type { LedgerEntry } from "../src/guard/ledger/entry.ts";
import { type LedgerOptions, openLedgerOn } from "../src/guard/ledger/ledger.ts";
import { type VerifyStep, verifyLedgerOn } from "../src/guard/ledger/verify.ts";
import { toHex, utf8 } from "../src/guard/sign/encoding.ts";
import { generateKey } from "../src/guard/sign/keys.ts";
import { sha256 } from "../src/guard/sign/sha256.ts";

export const HASH = toHex(sha256(utf8("anything")));
export const START: LedgerEntry = {
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
export const step = (n: number): LedgerEntry => ({
  kind: "step",
  facts: { step: n, loss: 1 / (n + 1) },
});

export const key = await generateKey();

export const open = (disk: Disk, options: Partial<LedgerOptions> = {}) =>
  openLedgerOn(disk, { key, origin: "example.com/run", ...options });

/** A closed ledger of `size` entries. */
export async function written(
  size: number,
  disk = memoryDisk(),
  options: Partial<LedgerOptions> = {},
) {
  const ledger = await open(disk, options);
  const all = [];
  for (let i = ledger.size; i < size; i++) all.push(ledger.append(i === 0 ? START : step(i)));
  await Promise.all(all);
  await ledger.close();
  return disk;
}

export const copy = (disk: MemoryDisk) => memoryDisk(new Map(disk.files));

export async function verdict(
  disk: Disk,
  options: Parameters<typeof verifyLedgerOn>[1] = {},
): Promise<VerifyStep> {
  let last: VerifyStep | undefined;
  for await (const found of verifyLedgerOn(disk, options)) last = found;
  return last!;
}

export const problems = async (disk: Disk) => (await verdict(disk)).problems.map((p) => p.what);
