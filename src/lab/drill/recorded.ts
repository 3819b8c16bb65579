/** The drill's run with its ledger: what `underpaint train` does, without files of its own making. Sabotages nothing. */

import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Disk } from "../../guard/ledger/disk.ts";
import { openLedgerOn } from "../../guard/ledger/ledger.ts";
import { readLedgerOn } from "../../guard/ledger/reader.ts";
import { generateKey, type PrivateKey, readPrivateKey } from "../../guard/sign/keys.ts";
import { createSketcher } from "../../guard/state/index.ts";
import type { Backend } from "../../tensor/backend.ts";
import { fastHash } from "../../train/evidence.node.ts";
import { readHistory } from "../../train/history.ts";
import { type Task, trainLoop } from "../../train/loop.ts";
import { recorder } from "../../train/recorder.ts";
import { type Checkpoint, openRun } from "../../train/run.node.ts";
import { sentinel } from "../../train/sentinel/watcher.ts";
import { keepState } from "../../train/states.node.ts";
import { varTask } from "../../train/var.ts";
import type { Watcher } from "../../train/watch.ts";
import type { World } from "./world.ts";

/** Updates between states that are kept. */
export const KEEP_EVERY = 10;
const ZERO = "00".repeat(32);
const SECRET = new Uint8Array(32).fill(7);
export const SKETCHER = createSketcher(SECRET, fastHash);
const PICTURE = { width: 1, height: 1, channels: 3, data: new Uint8Array(3) } as const;

export const openVar = (
  { recipe, tokenizer, backend, data }: World,
  { steps, checkpoint }: { steps: number; checkpoint?: Checkpoint },
): Promise<Task> =>
  varTask({ ...recipe, steps }, data(), {
    ...{ backend, tokenizer, checkpoint, draw: async () => PICTURE },
  });

export interface RecordedOptions {
  readonly folder: string;
  readonly disk: Disk;
  /** Default: run.key in the folder, made at the first time. */
  readonly key?: PrivateKey;
  readonly steps: number;
  /** Stops after so many updates more. */
  readonly until?: number;
  readonly backend?: Backend;
  readonly watchers?: readonly Watcher[];
  /** Kinds of alarms are put here; with it a sentinel watches. */
  readonly alarms?: string[];
  /** Before an update, with its number. */
  readonly onStep?: (step: number) => void;
}

async function ownKey(folder: string): Promise<PrivateKey> {
  const file = join(folder, "run.key");
  if (!existsSync(file)) await writeFile(file, await (await generateKey()).exportPem());
  return readPrivateKey(await readFile(file, "utf8"));
}

/** Trains with the ledger, from where the run is. */
export async function recordRun(world: World, options: RecordedOptions): Promise<void> {
  const { folder, disk, steps, until = Number.POSITIVE_INFINITY, alarms, onStep } = options;
  const { key = await ownKey(folder), backend = world.backend, watchers = [] } = options;
  const { run, checkpoint } = await openRun(folder, { drill: true });
  let time = 0;
  const clock = () => ++time;
  const ledger = await openLedgerOn(disk, { key, clock });
  const history = await readHistory((await readLedgerOn(disk)).records());
  const book = recorder({
    ...{ ledger, history, sketcher: SKETCHER, hash: fastHash, rootEvery: KEEP_EVERY, clock },
    facts: { code: ZERO, environment: {}, config: {}, dataRoot: ZERO, seed: "0" },
    hashFile: async () => ZERO,
    keep: (file, step) => keepState(folder, { file, step, budget: 1e9 }),
  });
  const task = await openVar({ ...world, backend }, { steps, checkpoint });
  const watch =
    alarms &&
    sentinel({
      ...{ secret: SECRET, declared: task.declared, book },
      tell: ({ kind }) => void alarms.push(kind),
    });
  const stop = new AbortController();
  const told: Task = {
    ...task,
    step(pace) {
      onStep?.(pace.step);
      return task.step(pace);
    },
  };
  const done = checkpoint?.step ?? 0;
  const loop = trainLoop(
    told,
    { ...run, log: async () => {} },
    {
      ...{ steps, done, signal: stop.signal, saveEvery: KEEP_EVERY },
      ...{ evaluateEvery: 1e9, drawEvery: 1e9 },
      watchers: [book, ...watchers, ...(watch ? [watch] : [])],
    },
  );
  for await (const event of loop)
    if (event.kind === "step" && event.step - done >= until) stop.abort();
}
