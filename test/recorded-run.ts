/** A training run with a ledger, for tests and benchmarks: trained, stopped, killed, tampered with, done again. */

import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Disk, memoryDisk } from "../src/guard/ledger/disk.ts";
import { openLedgerOn } from "../src/guard/ledger/ledger.ts";
import { readLedgerOn } from "../src/guard/ledger/reader.ts";
import { generateKey, type PrivateKey } from "../src/guard/sign/keys.ts";
import { createSketcher } from "../src/guard/state/index.ts";
import { fastHash } from "../src/train/evidence.node.ts";
import { type History, readHistory } from "../src/train/history.ts";
import { type Task, trainLoop } from "../src/train/loop.ts";
import { type Recorder, type RecorderOptions, recorder } from "../src/train/recorder.ts";
import { type Checkpoint, openRun } from "../src/train/run.node.ts";
import { keepState, storedStates } from "../src/train/states.node.ts";
import type { Watcher } from "../src/train/watch.ts";

/** A trainer, at its start or as a checkpoint says. */
export type Open = (checkpoint?: Checkpoint) => Promise<Task>;

/** A run in a folder of its own, with its ledger in memory. */
export interface RecordedRun {
  readonly folder: string;
  readonly disk: Disk;
  readonly key: PrivateKey;
  readonly steps: number;
  readonly open: Open;
}

const SECRET = new Uint8Array(32).fill(7);
export const sketcher = createSketcher(SECRET, fastHash);

/** A new run of that many updates in a new folder. */
export async function newRecordedRun(
  steps: number,
  {
    open,
    home = tmpdir(),
    disk = () => memoryDisk(),
  }: { open: Open; home?: string; disk?: (folder: string) => Disk },
): Promise<RecordedRun> {
  const folder = await mkdtemp(join(home, "underpaint-recorded-"));
  return { folder, disk: disk(join(folder, "ledger")), key: await generateKey(), steps, open };
}

/** What its ledger says. */
export const historyOf = async ({ disk }: RecordedRun): Promise<History> =>
  readHistory((await readLedgerOn(disk)).records());

/** Everything a replay needs. */
export const sourceOf = async (run: RecordedRun) => ({
  history: await historyOf(run),
  states: await storedStates(run.folder),
  open: (_: unknown, checkpoint?: Checkpoint) => run.open(checkpoint),
});

interface TrainOptions {
  /** Stops after this update. */
  readonly until?: number;
  /** Throws away what was not written after this update, as kill -9 does. */
  readonly killAt?: number;
  /** Changes the trainer: what a saboteur does. */
  readonly hand?: (task: Task) => Task;
  /** Watchers behind the ledger, which they may ask. */
  readonly watchers?: readonly Watcher[] | ((book: Recorder) => readonly Watcher[]);
  readonly rootEvery?: number;
  readonly saveEvery?: number;
}

/** Trains with the ledger, from where the run is. */
export async function trainRecorded(run: RecordedRun, options: TrainOptions = {}): Promise<void> {
  const { until, killAt, hand = (task: Task) => task, watchers = [] } = options;
  const { run: files, checkpoint } = await openRun(run.folder, { steps: run.steps });
  const size = await run.disk.read("journal");
  const history = size ? await historyOf(run) : await readHistory(noRecords());
  let time = 1000 * (history.size + 1);
  const ledger = await openLedgerOn(run.disk, { key: run.key, clock: () => time++ });
  const facts: RecorderOptions["facts"] = {
    ...{ code: "00".repeat(32), environment: {}, config: { steps: run.steps } },
    ...{ dataRoot: "00".repeat(32), seed: "0" },
  };
  const book = recorder({
    ...{ ledger, history, facts, sketcher, hash: fastHash, rootEvery: options.rootEvery ?? 4 },
    hashFile: async () => "00".repeat(32),
    keep: (file, step) => keepState(run.folder, { file, step, budget: 1e9 }),
    clock: () => time++,
  });
  const task = hand(await run.open(checkpoint));
  const stop = new AbortController();
  const loop = trainLoop(task, files, {
    ...{ steps: run.steps, done: checkpoint?.step, signal: stop.signal },
    ...{ saveEvery: options.saveEvery ?? 5, evaluateEvery: 100, drawEvery: 100 },
    watchers: [book, ...(typeof watchers === "function" ? watchers(book) : watchers)],
  });
  for await (const event of loop) {
    if (event.kind !== "step") continue;
    if (event.step === until) stop.abort();
    // The end of a generator that is left says nothing to the watchers but "close".
    if (event.step === killAt) break;
  }
}

async function* noRecords() {}
