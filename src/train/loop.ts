/** The loop all trainers share: step, measure, draw, save, in that order and resumable. Knows no model. */

import type { TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import type { Picture } from "../image/sheet.ts";
import type { Pace } from "../nn/optim.ts";
import { NonFiniteError } from "../tensor/nan-check.ts";
import type { Declared } from "./declared.ts";
import type { Metrics, Run } from "./run.node.ts";
import { type RunState, type Stepped, tell, tellAll, type Watcher } from "./watch.ts";

/** What a trainer gives to the loop. Everything random in it follows from the seed and the step. */
export interface Task {
  /** Runs update number `pace.step` (from 1) on the next batch. */
  step(pace: Pace): Promise<Stepped>;
  /** Learning rate and decay of an update. */
  pace(step: number): Pace;
  /** Measures on the test split. */
  evaluate(): Promise<Metrics>;
  /** Told of every evaluation, after it: keeps what is best so far, where the recipe says so. */
  evaluated?(run: Run, at: { step: number; metrics: Metrics }): Promise<void>;
  /** Why the run ends before its last update; asked after every update. */
  ended?(): string | undefined;
  /** What is wrong at present, a sentence each; asked after every evaluation. */
  remarks?(): readonly string[];
  /** A picture of what the model can do now. */
  draw(): Promise<Picture>;
  /** Everything a later process needs to go on bit by bit: weights, moments, counters. */
  tensors(): TensorMap;
  /** Parameters and moments as the last update read them, under the names of `tensors`; views until the next one. */
  before(): TensorMap;
  /** The same for what is not a tensor: the data cursor. Plain JSON. */
  position(): unknown;
  /** What the recipe says of every update, for watchers that compute them again. */
  readonly declared?: Declared;
  /** Writes the finished model into the run's folder. */
  finish(run: Run): Promise<string>;
  release(): Promise<void>;
}

export interface LoopOptions {
  /** Updates of the whole run. */
  steps: number;
  /** Updates done already, from the checkpoint. */
  done?: number;
  /** Updates between checkpoints. */
  saveEvery?: number;
  /** Updates between measurements on the test split. */
  evaluateEvery?: number;
  /** Updates between sample sheets. */
  drawEvery?: number;
  /** Stops after the update under way, with a checkpoint. */
  signal?: AbortSignal;
  /** Told what happens, in order; see Watcher. */
  watchers?: readonly Watcher[];
}

export type TrainEvent =
  | {
      kind: "step";
      step: number;
      of: number;
      metrics: Metrics;
      ms: number;
      phases: Stepped["phases"];
    }
  | { kind: "evaluation"; step: number; metrics: Metrics; remarks: readonly string[] }
  | { kind: "sheet"; step: number; file: string }
  | { kind: "checkpoint"; step: number; file: string }
  | { kind: "stopped"; step: number }
  | { kind: "finished"; step: number; file: string; why?: string };

/**
 * Trains until `steps` updates are done, yielding what happens. Metrics of every update are appended to the run's
 * metrics.jsonl; killed at any moment, a new process goes on from the last checkpoint and reaches the same weights.
 */
export async function* trainLoop(
  task: Task,
  run: Run,
  options: LoopOptions,
): AsyncGenerator<TrainEvent> {
  const { steps: of, done = 0, signal, watchers = [] } = options;
  const { saveEvery = 200, evaluateEvery = 500, drawEvery = 500 } = options;
  const state: RunState = { tensors: () => task.tensors(), position: () => task.position() };
  let [step, saved] = [done, done];
  let open = true;
  const over = (): boolean => step >= of || task.ended?.() !== undefined;
  const close = async (): Promise<void> => {
    if (!open) return;
    open = false;
    await tellAll(watchers, (watcher) => watcher.close?.());
  };
  const save = async (): Promise<TrainEvent> => {
    await tell(watchers, "saving", { ...state, step });
    saved = step;
    const file = await run.save({ step, position: task.position(), tensors: task.tensors() });
    await tell(watchers, "checkpoint", { ...state, step, file });
    return { kind: "checkpoint", step, file };
  };
  try {
    await tell(watchers, "start", { ...state, run, of, done });
    while (!over() && !signal?.aborted) {
      const pace = task.pace(step + 1);
      await tell(watchers, "beforeStep", { ...state, step: step + 1, of, pace });
      const begin = performance.now();
      const stepped = await task.step(pace).catch(diverged(run, step + 1, saved));
      const ms = performance.now() - begin;
      step++;
      const metrics = { lr: pace.lr, ...stepped.metrics };
      const before = () => task.before();
      await tell(watchers, "afterStep", {
        ...state,
        ...stepped,
        ...{ metrics, step, of, pace, ms, before },
      });
      await run.log({ step, ...metrics, ms: Math.round(ms * 10) / 10 });
      yield { kind: "step", step, of, metrics, ms, phases: stepped.phases };
      if (step % evaluateEvery === 0 || step === of) {
        const test = await task.evaluate();
        await task.evaluated?.(run, { step, metrics: test });
        await tell(watchers, "evaluation", { step, metrics: test });
        await run.log({ step, ...test });
        yield { kind: "evaluation", step, metrics: test, remarks: task.remarks?.() ?? [] };
      }
      if (step % drawEvery === 0 || over()) {
        const name = `sheets/${String(step).padStart(7, "0")}.png`;
        const file = await run.draw(name, await task.draw());
        await tell(watchers, "sheet", { step, file });
        yield { kind: "sheet", step, file };
      }
      if (step % saveEvery === 0 || over()) yield await save();
    }
    if (!over()) {
      if (step % saveEvery !== 0 && step > done) yield await save();
      await tell(watchers, "stop", { ...state, step });
      yield { kind: "stopped", step };
    } else {
      const file = await task.finish(run);
      await tell(watchers, "finish", { ...state, step, file });
      yield { kind: "finished", step, file, why: task.ended?.() };
    }
  } catch (error) {
    // What stopped the run is thrown, whatever the watchers have to say about it.
    await tellAll(watchers, (watcher) => watcher.error?.({ step, error })).catch(() => {});
    await close().catch(() => {});
    throw error;
  } finally {
    await close().finally(() => task.release());
  }
}

/** NaN or infinity in a step: says where it began and what is left. Everything else is thrown on. */
const diverged = (run: Run, step: number, saved: number) => (error: unknown) => {
  if (!(error instanceof NonFiniteError)) throw error;
  const left =
    saved > 0
      ? `the last good checkpoint is that of update ${saved} in ${run.folder}`
      : "there is no checkpoint yet";
  throw new InputError(
    `update ${step} is not finite (${error.message}); ${left}; go on from there with a lower learning rate, or look at the pictures`,
    { step, saved, folder: run.folder, ...error.data },
  );
};
