/**
 * Audits of the default VAR: an honest run at its own thread count and at others, and runs with one step tampered with
 * inside. Writes bench/results/audit.json. Run: npx tsx bench/audit.ts
 */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { folderDisk } from "../src/guard/ledger/node.ts";
import { rng } from "../src/tensor/rng.ts";
import { fastHash } from "../src/train/evidence.node.ts";
import { type Replayed, replay } from "../src/train/replay.ts";
import { HANDS } from "../test/hands.ts";
import {
  newRecordedRun,
  type RecordedRun,
  sketcher,
  sourceOf,
  trainRecorded,
} from "../test/recorded-run.ts";
import { defaultVar, parametersOf } from "./default-var.ts";
import { machine } from "./machine.ts";

const STEPS = Number(process.env.STEPS ?? 40);
/** Steps of the runs that are tampered with. */
const SHORT = Math.min(STEPS, 12);
const THREADS = 2;
const home = await mkdtemp(join(process.env.BENCH_HOME ?? tmpdir(), "underpaint-audit-"));

async function train(steps: number, hand?: Parameters<typeof trainRecorded>[1]) {
  const run = await newRecordedRun(steps, {
    open: (checkpoint) => defaultVar(steps, { threads: THREADS, checkpoint }),
    ...{ home, disk: folderDisk },
  });
  await trainRecorded(run, { saveEvery: 10, rootEvery: 10, ...hand });
  return run;
}

async function audit(run: RecordedRun, threads: number, steps?: readonly number[]) {
  const source = await sourceOf(run);
  const asked = steps ?? [...source.history.steps.keys()];
  const open: typeof source.open = (_, checkpoint) =>
    defaultVar(run.steps, { threads, checkpoint });
  const found: Replayed[] = [];
  for await (const step of replay(asked, { ...source, open }, { sketcher, hash: fastHash })) {
    found.push(step);
    console.error(`${threads} threads, step ${step.step}: ${step.verdict}`);
  }
  return found;
}

const count = (found: readonly Replayed[], verdict: Replayed["verdict"]) =>
  found.filter((step) => step.verdict === verdict).length;

try {
  const honest = await train(STEPS);
  const audits = [];
  for (const threads of [THREADS, 1]) {
    const found = await audit(honest, threads);
    const first = found.find((step) => step.verdict === "different");
    audits.push({
      ...{ threads, same: count(found, "same"), different: count(found, "different") },
      ...(first && { first: { step: first.step, differences: first.differences } }),
    });
  }
  const chance = rng("audit");
  const tampered = [];
  for (const [what, { hand }] of Object.entries(HANDS)) {
    const bad = 1 + chance.int(SHORT);
    const run = await train(SHORT, { hand: hand(bad) });
    const found = await audit(run, THREADS, [bad]);
    const wrong = found.find((step) => step.verdict === "different");
    tampered.push({
      ...{ what, step: bad, found: wrong?.step === bad, firstTensor: wrong?.tensors[0] },
      ...{ tensors: wrong?.tensors.length, differences: wrong?.differences },
    });
    await rm(run.folder, { recursive: true, force: true });
  }
  const task = await defaultVar(1);
  const report = {
    what: "steps of the default VAR done again from kept states and compared bit by bit with the ledger",
    date: new Date().toISOString().slice(0, 10),
    ...{ parameters: parametersOf(task), steps: STEPS, runThreads: THREADS, audits, tampered },
    machine: machine({}),
  };
  await task.release();
  console.log(JSON.stringify(report, null, 2));
  if (STEPS >= 40)
    await writeFile(
      new URL("results/audit.json", import.meta.url),
      `${JSON.stringify(report, null, 2)}\n`,
    );
  const honestly = audits[0]!.same === STEPS;
  if (!honestly || tampered.some(({ found }) => !found)) process.exitCode = 1;
} finally {
  await rm(home, { recursive: true, force: true });
}
