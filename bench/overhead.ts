/**
 * What the ledger costs: steps of the default VAR with and without it, in turns, in one process, on a real disk. Writes
 * bench/results/overhead.json. Run on a quiet machine: npx tsx bench/overhead.ts
 */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLedger } from "../src/guard/ledger/node.ts";
import { generateKey } from "../src/guard/sign/keys.ts";
import { createSketcher } from "../src/guard/state/index.ts";
import { fastHash } from "../src/train/evidence.node.ts";
import { readHistory } from "../src/train/history.ts";
import type { Task } from "../src/train/loop.ts";
import { recorder } from "../src/train/recorder.ts";
import { runIn } from "../src/train/run.node.ts";
import type { Watcher } from "../src/train/watch.ts";
import { median, spread } from "./contest.ts";
import { defaultVar, parametersOf } from "./default-var.ts";
import { machine } from "./machine.ts";

const ROUNDS = Number(process.env.ROUNDS ?? 3);
/** Steps of a turn: the ledger takes one root over everything in as many. */
const TURN = 20;
const home = await mkdtemp(join(tmpdir(), "underpaint-overhead-"));
const key = await generateKey();
const ZERO = "00".repeat(32);

async function* none() {}

/** A ledger that begins now, in a folder of its own. */
async function ledgerWatcher(round: number): Promise<Watcher> {
  return recorder({
    ledger: await openLedger(join(home, `ledger-${round}`), { key, clock: Date.now }),
    history: await readHistory(none()),
    facts: { code: ZERO, environment: {}, config: {}, dataRoot: ZERO, seed: "0" },
    sketcher: createSketcher(new Uint8Array(32).fill(round + 1), fastHash),
    hash: fastHash,
    hashFile: async () => ZERO,
    rootEvery: TURN,
    clock: Date.now,
  });
}

/** Milliseconds of each step of a turn, as the loop makes them: hooks, and a breath for the disk. */
async function turn(task: Task, from: number, watcher?: Watcher): Promise<number[]> {
  const state = { tensors: () => task.tensors(), position: () => task.position() };
  const of = 1e6;
  await watcher?.start?.({ ...state, run: runIn(home), of, done: from });
  const times: number[] = [];
  for (let step = from + 1; step <= from + TURN; step++) {
    const begin = performance.now();
    const pace = task.pace(step);
    await watcher?.beforeStep?.({ ...state, step, of, pace });
    const start = performance.now();
    const told = await task.step(pace);
    const ms = performance.now() - start;
    const before = () => task.before();
    await watcher?.afterStep?.({ ...state, ...told, step, of, pace, ms, before });
    await new Promise((resolve) => setImmediate(resolve));
    times.push(performance.now() - begin);
  }
  const begin = performance.now();
  await watcher?.close?.();
  // What was still to be written is part of the cost, a share for each step.
  const rest = (performance.now() - begin) / TURN;
  return times.map((ms) => ms + rest);
}

const mean = (times: readonly number[]): number => times.reduce((a, b) => a + b) / times.length;

try {
  const task = await defaultVar(1e6);
  const parameters = parametersOf(task);
  await turn(task, 0);
  const [bare, recorded]: [number[][], number[][]] = [[], []];
  let at = TURN;
  for (let round = 0; round < ROUNDS; round++)
    // Turn about, so that a machine that warms up favours neither.
    for (const withLedger of round % 2 === 0 ? [false, true] : [true, false]) {
      const times = await turn(task, at, withLedger ? await ledgerWatcher(round) : undefined);
      (withLedger ? recorded : bare).push(times);
      at += TURN;
      console.error(`${withLedger ? "ledger " : "nothing"} ${mean(times).toFixed(1)} ms a step`);
    }
  await task.release();
  const ratios = bare.map((times, i) => mean(recorded[i]!) / mean(times));
  const medians = { nothing: median(bare.flat()), ledger: median(recorded.flat()) };
  const report = {
    what: "milliseconds of a training step of the default VAR, with and without its ledger, in turns",
    date: new Date().toISOString().slice(0, 10),
    model: { parameters, stateBytes: 12 * parameters },
    ...{ rounds: ROUNDS, stepsPerTurn: TURN, rootEvery: TURN },
    nothing: spread(bare.flat()),
    ledger: spread(recorded.flat()),
    /** Of the medians: one step in twenty takes a root, which the median leaves out. */
    ratioOfMedians: medians.ledger / medians.nothing,
    /** Of each pair of turns, everything counted. */
    ratioOfTurns: spread(ratios),
    machine: machine({}),
  };
  console.log(JSON.stringify(report, null, 2));
  if (ROUNDS >= 3)
    await writeFile(
      new URL("results/overhead.json", import.meta.url),
      `${JSON.stringify(report, null, 2)}\n`,
    );
} finally {
  await rm(home, { recursive: true, force: true });
}
