/**
 * Kills a process with -9 at 200 random moments while it appends to a ledger: what was acknowledged must be there and
 * verify. Writes bench/results/kill-ledger.json. Run: npx tsx bench/kill-ledger.ts
 */

import { writeFile } from "node:fs/promises";
import { rng } from "../src/tensor/rng.ts";
import { killLedger } from "../test/e2e/ledger-kill.ts";
import { host } from "./machine.ts";

const KILLS = Number(process.env.KILLS ?? 200);
const report = {
  what: "kill -9 at random moments while a process appends: is every acknowledged entry there, and does all verify?",
  date: new Date().toISOString().slice(0, 10),
  ...host(),
  ...(await killLedger(KILLS, { rng: rng("kill-ledger"), say: (line) => console.error(line) })),
};
console.log(JSON.stringify(report, null, 2));
if (KILLS >= 200)
  await writeFile(
    new URL("results/kill-ledger.json", import.meta.url),
    `${JSON.stringify(report, null, 2)}\n`,
  );
if (report.lost > 0 || report.problems.length > 0) process.exit(1);
