/** A few kills of a process that appends to a ledger. Two hundred are in bench/kill-ledger.ts. */

import { expect, test } from "vitest";
import { rng } from "../../src/tensor/rng.ts";
import { killLedger } from "./ledger-kill.ts";

test("killed with -9 in the midst of appending, a ledger keeps all it acknowledged, and verifies", async () => {
  const report = await killLedger(4, { rng: rng("ledger-kill") });
  expect(report).toMatchObject({ kills: 4, lost: 0, problems: [] });
  expect(report.entries).toBeGreaterThanOrEqual(report.acknowledged);
}, 300_000);
