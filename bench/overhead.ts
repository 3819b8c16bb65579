/**
 * What the ledger and the sentinel cost: steps of the default VAR with neither, with the ledger, with both and everything
 * on, in turns, in one process, on a real disk. Checks of the gradient are rare, so they are timed apart and counted by
 * their chance. Writes bench/results/overhead.json. Run on a quiet machine: npx tsx bench/overhead.ts
 */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Ledger } from "../src/guard/ledger/ledger.ts";
import { openLedger } from "../src/guard/ledger/node.ts";
import { secretStream } from "../src/guard/sentinel/index.ts";
import { recordSources } from "../src/guard/sentinel/sources.node.ts";
import { generateKey } from "../src/guard/sign/keys.ts";
import { createSketcher } from "../src/guard/state/index.ts";
import { codeFiles, fastHash } from "../src/train/evidence.node.ts";
import { readHistory } from "../src/train/history.ts";
import type { Task } from "../src/train/loop.ts";
import { type Recorder, ROOT_EVERY, recorder } from "../src/train/recorder.ts";
import { runIn } from "../src/train/run.node.ts";
import { checkDirections } from "../src/train/sentinel/directions.ts";
import { sentinel } from "../src/train/sentinel/watcher.ts";
import { type AfterStepEvent, tell, type Watcher } from "../src/train/watch.ts";
import { median, spread } from "./contest.ts";
import { defaultVar, parametersOf } from "./default-var.ts";
import { machine } from "./machine.ts";

const ROUNDS = Number(process.env.ROUNDS ?? 3);
/** Chance that the gradient of an update is checked: the default of underpaint train. */
const CHECKS = 0.005;
/** Steps of a turn: the ledger takes one root over everything in as many. */
const TURN = ROOT_EVERY;
const home = await mkdtemp(join(tmpdir(), "underpaint-overhead-"));
const key = await generateKey();
const ZERO = "00".repeat(32);

async function* none() {}

type Arms = Awaited<ReturnType<typeof openArms>>;

/** A ledger for each arm, open from turn to turn, so that it publishes as often as in a run. */
async function openArms() {
  const open = (name: string) => openLedger(join(home, name), { key, clock: Date.now });
  const ledgers = { ledger: await open("one"), both: await open("two") };
  const sources = await recordSources(await codeFiles());
  return { ledgers, sources };
}

/** The ledger's watcher for one turn. Its start and end are not what is measured. */
async function bookOf(ledger: Ledger): Promise<Recorder> {
  const book = recorder({
    ...{ ledger, hash: fastHash, hashFile: async () => ZERO, clock: Date.now },
    history: await readHistory(none()),
    facts: { code: ZERO, environment: {}, config: {}, dataRoot: ZERO, seed: "0" },
    sketcher: createSketcher(new Uint8Array(32).fill(7), fastHash),
  });
  const start = ledger.size === 0 ? book.start : undefined;
  return { ...book, start, close: () => ledger.flush() };
}

/** What stands around the steps of a turn. */
const ARMS: Readonly<Record<string, (arms: Arms, task: Task) => Promise<Watcher[]>>> = {
  nothing: async () => [],
  ledger: async ({ ledgers }) => [await bookOf(ledgers.ledger)],
  "ledger and sentinel": async ({ ledgers, sources }, { declared }) => {
    const book = await bookOf(ledgers.both);
    const secret = new Uint8Array(32).fill(9);
    return [book, sentinel({ secret, declared, book, sources, checks: 0, wall: Date.now })];
  },
};
type Arm = keyof typeof ARMS;

interface Turn {
  /** Milliseconds of each step as the loop makes them: hooks, and a breath for the disk. */
  readonly times: readonly number[];
  /** Milliseconds of a step inside the hooks, on average: what a neighbour's work does not blur. */
  readonly hooks: number;
}

async function turn(task: Task, from: number, watchers: Watcher[] = []): Promise<Turn> {
  const state = { tensors: () => task.tensors(), position: () => task.position() };
  const of = 1e6;
  await tell(watchers, "start", { ...state, run: runIn(home), of, done: from });
  const times: number[] = [];
  let hooks = 0;
  for (let step = from + 1; step <= from + TURN; step++) {
    const begin = performance.now();
    const pace = task.pace(step);
    await tell(watchers, "beforeStep", { ...state, step, of, pace });
    const start = performance.now();
    const told = await task.step(pace);
    const end = performance.now();
    const before = () => task.before();
    const after = { ...state, ...told, step, of, pace, ms: end - start, before };
    await tell(watchers, "afterStep", after);
    hooks += start - begin + performance.now() - end;
    await new Promise((resolve) => setImmediate(resolve));
    times.push(performance.now() - begin);
  }
  const begin = performance.now();
  for (const watcher of watchers) await watcher.close?.();
  // What was still to be written is part of the cost, a share for each step.
  const rest = (performance.now() - begin) / TURN;
  return { times: times.map((ms) => ms + rest), hooks: hooks / TURN + rest };
}

/** Milliseconds of checks of a gradient, one way or the other by turns; the first, which compiles, is left out. */
async function checks(task: Task, from: number): Promise<number[]> {
  const memory = new Map();
  const times: number[] = [];
  for (let i = 0; i < 7; i++) {
    const step = from + 1 + i;
    const pace = task.pace(step);
    const told = await task.step(pace);
    const state = { tensors: () => task.tensors(), position: () => task.position() };
    const before = () => task.before();
    const event: AfterStepEvent = { ...state, ...told, step, of: 1e6, pace, ms: 0, before };
    const begin = performance.now();
    const found = await checkDirections(event, task.declared!, {
      directions: [i % 2 ? "along" : "across"],
      stream: () => secretStream(new Uint8Array(32), "signs", step),
      memory,
    });
    if (found.length > 0) throw new Error(`an honest gradient was accused: ${found[0]![0]}`);
    times.push(performance.now() - begin);
  }
  return times.slice(1);
}

const mean = (times: readonly number[]): number => times.reduce((a, b) => a + b) / times.length;

try {
  const task = await defaultVar(1e6);
  const parameters = parametersOf(task);
  const open = await openArms();
  await turn(task, 0);
  const names = Object.keys(ARMS);
  const turns = Object.fromEntries(names.map((name) => [name, [] as Turn[]]));
  let at = TURN;
  for (let round = 0; round < ROUNDS; round++)
    // In another order each round, so that a machine that warms up favours none.
    for (let i = 0; i < names.length; i++) {
      const arm: Arm = names[(i + round) % names.length]!;
      const done = await turn(task, at, await ARMS[arm]!(open, task));
      turns[arm]!.push(done);
      at += TURN;
      const [whole, inside] = [mean(done.times), done.hooks].map((ms) => ms.toFixed(1));
      console.error(`${arm}: ${whole} ms a step, ${inside} of them in hooks`);
    }
  for (const ledger of Object.values(open.ledgers)) await ledger.close();
  const check = await checks(task, at);
  await task.release();
  const bare = turns.nothing!;
  const usual = median(bare.flatMap(({ times }) => times));
  const checkShare = (CHECKS * median(check)) / usual;
  const arms = Object.fromEntries(
    names.map((name) => {
      const mine = turns[name]!;
      const all = mine.flatMap(({ times }) => times);
      const shares = mine.map(({ hooks }) => hooks / usual);
      const ratios = bare.map(({ times }, i) => mean(mine[i]!.times) / mean(times));
      return [
        name,
        {
          milliseconds: spread(all),
          /** Of the medians: one step in forty takes a root, which the median leaves out. */
          ratioOfMedians: median(all) / usual,
          /** Of each round's turns, everything counted but checks of the gradient. */
          ratioOfTurns: spread(ratios),
          /** Time inside the hooks and of what was still to be written, as a share of a bare step. */
          shareInHooks: spread(shares),
          ...(name.includes("sentinel") && { shareWithChecks: median(shares) + checkShare }),
        },
      ];
    }),
  );
  const report = {
    what: "milliseconds of a training step of the default VAR, with and without its ledger and its sentinel, in turns",
    date: new Date().toISOString().slice(0, 10),
    model: { parameters, stateBytes: 12 * parameters },
    ...{ rounds: ROUNDS, stepsPerTurn: TURN, rootEvery: ROOT_EVERY, arms },
    gradientChecks: { chance: CHECKS, milliseconds: spread(check), shareOfTime: checkShare },
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
