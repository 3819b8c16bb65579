/** One run of the drill: training, a saboteur with a random onset, a sentinel, and what it said. */

import { appendFile, mkdtemp, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSafetensors, writeSafetensors } from "../../formats/safetensors.ts";
import type { Alarm } from "../../guard/sentinel/index.ts";
import { recordSources } from "../../guard/sentinel/sources.node.ts";
import { robustScale } from "../../guard/sentinel/timing.ts";
import { utf8 } from "../../guard/sign/encoding.ts";
import { stateRoot } from "../../guard/state/index.ts";
import { rng } from "../../tensor/rng.ts";
import type { Declared } from "../../train/declared.ts";
import { type Task, trainLoop } from "../../train/loop.ts";
import { openRun } from "../../train/run.node.ts";
import { sentinel } from "../../train/sentinel/watcher.ts";
import { declareVar, type VarRecipe, varTask } from "../../train/var.ts";
import { AlarmError, type Watcher } from "../../train/watch.ts";
import { type Grip, spoiledBackend } from "./engine.ts";
import type { Hands, Sabotage } from "./sabotages.ts";
import type { World } from "./world.ts";

export interface RunOptions {
  /** Where the run's chance comes from: onset, place, secret. */
  readonly seed: string;
  /** Share of the updates from the onset on. */
  readonly rate?: number;
  /** Updates at which the sabotage begins: random between these. */
  readonly onset: readonly [number, number];
  /** Chance that an update's gradient is checked. */
  readonly checks: number;
  /** Alarms that count; others are left out. Default: all but those of time. */
  readonly timed?: boolean;
  readonly signal?: AbortSignal;
}

export interface Outcome {
  readonly onset: number;
  /** Updates that were sabotaged before the end or the detection. */
  readonly acted: number;
  /** First alarm that counts, from the onset on. */
  readonly detected?: Alarm;
  /** Updates from the first sabotaged one to the alarm; 0 is the same update. */
  readonly delay?: number;
  /** Alarms before the onset, or of a clean run. */
  readonly false: readonly Alarm[];
  readonly updates: number;
}

const TIMES = ["step-time", "stalls", "clock"];
const PICTURE = { width: 1, height: 1, channels: 3, data: new Uint8Array(3) } as const;

/** Runs `recipe.steps` updates, or until the first alarm. @param sabotage absent for a clean run */
export async function drillRun(
  world: World,
  sabotage: Sabotage | undefined,
  options: RunOptions,
): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), "underpaint-drill-"));
  try {
    return await runIn(folder, world, sabotage, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runIn(
  folder: string,
  world: World,
  sabotage: Sabotage | undefined,
  { seed, rate = 1, onset: [from, to], checks, timed = false, signal }: RunOptions,
): Promise<Outcome> {
  const chance = rng("drill").child(seed);
  const { recipe, tokenizer, backend, params } = world;
  const data = world.data();
  const onset = sabotage ? from + chance.child("onset").int(to - from) : recipe.steps + 1;
  const hands: Hands = sabotage?.hands({ chance: chance.child("hands"), params }) ?? {};
  const once = Boolean(sabotage && !sabotage.rates);
  const slow = Boolean(hands.sleep || hands.work);
  const draws = chance.child("acts");
  const acts = (step: number) =>
    once ? step === onset : step >= onset && draws.child(step).uniform() < rate;

  let step = 0;
  let [first, acted] = [0, 0];
  const durations: number[] = [];
  const act = (at: number) => {
    if (acted++ === 0) first = at;
  };
  const engine = spoiledBackend(backend, (): Grip | undefined => {
    if (!acts(step)) return undefined;
    const usual = () => robustScale(durations).median;
    if (hands.sleep) sleep(hands.sleep(usual()));
    if (hands.work) work(hands.work(usual()));
    return hands.engine?.();
  });
  const code = join(folder, "code.ts");
  await writeFile(code, await readFile(new URL(import.meta.url)));

  /** One process of the run. */
  async function train(own: VarRecipe, until: number, earlier?: { root?: string; ended: boolean }) {
    const { run, checkpoint } = await openRun(folder, { drill: true });
    const task = await varTask(own, data, {
      backend: hands.engine || slow ? engine : backend,
      ...{ tokenizer, draw: async () => PICTURE, checkpoint },
    });
    // The sentinel believes the recipe that was declared, whatever the trainer was given.
    const declared: Declared = { ...task.declared!, ...declareVar(recipe, data) };
    const watch = sentinel({
      secret: utf8(`secret of ${seed}, ${chance.child("secret").uint32()}`),
      ...{ declared, checks, directions: "both", stop: !timed },
      ...(earlier && { saved: earlier.root, book: { ended: earlier.ended } }),
      sources: hands.source && (await recordSources([code])),
    });
    let root = "";
    const keeper: Watcher = {
      name: "keeper",
      saving: ({ tensors, position }) => {
        root = stateRoot({ tensors: tensors(), position: position() });
      },
    };
    const stop = new AbortController();
    const every = { saveEvery: 1e9, evaluateEvery: 1e9, drawEvery: 1e9 };
    const loop = trainLoop(
      handled(task),
      { ...run, log: async () => {} },
      {
        ...{ steps: recipe.steps, done: checkpoint?.step, signal: stop.signal, ...every },
        watchers: [watch, keeper],
      },
    );
    try {
      for await (const event of loop) {
        signal?.throwIfAborted();
        if (event.kind !== "step") continue;
        if (event.step < onset) durations.push(event.ms);
        if (event.step >= until) {
          if (hands.kill) break;
          stop.abort();
        }
        if (hands.between && acts(event.step + 1)) {
          act(event.step + 1);
          hands.between(task);
        }
        if (hands.source && acts(event.step)) {
          act(event.step);
          await editQuietly(code);
        }
        if (timed && watch.alarms.some((a) => TIMES.includes(a.kind) && a.step >= onset)) break;
      }
    } catch (error) {
      if (!(error instanceof AlarmError)) throw error;
    }
    return { alarms: watch.alarms, root };
  }

  /** The task with the saboteur's hands on its data, and the count of what was done. */
  const handled = (task: Task): Task => ({
    ...task,
    async step(pace) {
      step = pace.step;
      if (!acts(step)) return task.step(pace);
      if (hands.engine || slow || hands.data) act(step);
      const undo = hands.data?.(data, task.declared!.batch(step).indices);
      try {
        return await task.step(pace);
      } finally {
        undo?.();
      }
    },
  });
  const alarms: Alarm[] = [];
  const twice = Boolean(hands.file || hands.recipe || hands.kill);
  if (!twice) alarms.push(...(await train(recipe, Number.POSITIVE_INFINITY)).alarms);
  else {
    const before = await train(recipe, onset - 1);
    alarms.push(...before.alarms);
    if (hands.file) await editFile(join(folder, "checkpoint.safetensors"), hands.file);
    act(onset);
    const own = hands.recipe?.(recipe) ?? recipe;
    const earlier = { root: before.root || undefined, ended: !hands.kill };
    alarms.push(...(await train(own, Math.min(recipe.steps, onset + 20), earlier)).alarms);
  }
  const counted = alarms.filter((a) => timed === TIMES.includes(a.kind));
  const isFalse = (a: Alarm) => acted === 0 || (a.step < first && !twice);
  const detected = counted.find((a) => !isFalse(a) && sabotage?.seenBy.includes(a.kind));
  return {
    ...{ onset, acted, detected, updates: step, false: counted.filter(isFalse) },
    ...(detected && { delay: Math.max(0, detected.step - first) }),
  };
}

/** Stops the thread. */
function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** Keeps the processor busy. */
function work(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

/** Adds a line to a file and sets its times back. */
async function editQuietly(file: string): Promise<void> {
  const { atime, mtime } = await stat(file);
  await appendFile(file, "\n");
  await utimes(file, atime, mtime);
}

async function editFile(file: string, change: NonNullable<Hands["file"]>): Promise<void> {
  const { tensors, metadata } = readSafetensors(await readFile(file));
  const own = new Map([...tensors].map(([name, t]) => [name, { ...t, data: t.data.slice() }]));
  change(own as Parameters<typeof change>[0]);
  await writeFile(file, writeSafetensors(own as typeof tensors, { metadata }));
}
