/** The loop all trainers share: step, measure, draw, save, in that order and resumable. Knows no model. */

import type { TensorMap } from "../formats/dtype.ts";
import type { Picture } from "../image/sheet.ts";
import type { Pace } from "../nn/optim.ts";
import type { Metrics, Run } from "./run.node.ts";

/** What a trainer gives to the loop. Everything random in it follows from the seed and the step. */
export interface Task {
  /** Runs update number `pace.step` (from 1) on the next batch. */
  step(pace: Pace): Promise<Metrics>;
  /** Learning rate and decay of an update. */
  pace(step: number): Pace;
  /** Measures on the test split. */
  evaluate(): Promise<Metrics>;
  /** A picture of what the model can do now. */
  draw(): Promise<Picture>;
  /** Everything a later process needs to go on bit by bit: weights, moments, counters. */
  tensors(): TensorMap;
  /** The same for what is not a tensor: the data cursor. Plain JSON. */
  position(): unknown;
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
}

export type TrainEvent =
  | { kind: "step"; step: number; of: number; metrics: Metrics; ms: number }
  | { kind: "evaluation"; step: number; metrics: Metrics }
  | { kind: "sheet"; step: number; file: string }
  | { kind: "checkpoint"; step: number; file: string }
  | { kind: "stopped"; step: number }
  | { kind: "finished"; step: number; file: string };

/**
 * Trains until `steps` updates are done, yielding what happens. Metrics of every update are appended to the run's
 * metrics.jsonl; killed at any moment, a new process goes on from the last checkpoint and reaches the same weights.
 */
export async function* trainLoop(
  task: Task,
  run: Run,
  options: LoopOptions,
): AsyncGenerator<TrainEvent> {
  const { steps, done = 0, signal } = options;
  const { saveEvery = 200, evaluateEvery = 500, drawEvery = 500 } = options;
  const save = async (step: number): Promise<TrainEvent> => {
    const file = await run.save({ step, position: task.position(), tensors: task.tensors() });
    return { kind: "checkpoint", step, file };
  };
  try {
    let step = done;
    while (step < steps && !signal?.aborted) {
      step++;
      const pace = task.pace(step);
      const begin = performance.now();
      const metrics = { lr: pace.lr, ...(await task.step(pace)) };
      const ms = performance.now() - begin;
      await run.log({ step, ...metrics, ms: Math.round(ms * 10) / 10 });
      yield { kind: "step", step, of: steps, metrics, ms };
      if (step % evaluateEvery === 0 || step === steps) {
        const test = await task.evaluate();
        await run.log({ step, ...test });
        yield { kind: "evaluation", step, metrics: test };
      }
      if (step % drawEvery === 0 || step === steps) {
        const file = await run.draw(
          `sheets/${String(step).padStart(7, "0")}.png`,
          await task.draw(),
        );
        yield { kind: "sheet", step, file };
      }
      if (step % saveEvery === 0 || step === steps) yield await save(step);
    }
    if (step < steps) {
      if (step % saveEvery !== 0 && step > done) yield await save(step);
      yield { kind: "stopped", step };
    } else yield { kind: "finished", step, file: await task.finish(run) };
  } finally {
    await task.release();
  }
}
