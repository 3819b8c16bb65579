/** A few updates on trial: how long one takes, and which learning rate suits. Saves nothing; the task is spent afterwards. */

import { InputError } from "../formats/errors.ts";
import { NonFiniteError } from "../tensor/nan-check.ts";
import type { Task } from "./loop.ts";

/** The first update is slower: memory is new to it. */
const UNTIMED = 1;
const TIMED = 3;
/** Milliseconds after which no further update is timed. */
const ENOUGH = 6000;

/** Milliseconds of one update: the median of a few, fewer where they are slow. */
export async function updateTime(
  task: Task,
  { signal }: { signal?: AbortSignal } = {},
): Promise<number> {
  const times: number[] = [];
  const begin = performance.now();
  for (let step = 1; step <= UNTIMED + TIMED; step++) {
    signal?.throwIfAborted();
    const from = performance.now();
    await task.step(task.pace(step));
    times.push(performance.now() - from);
    if (performance.now() - begin > ENOUGH) break;
  }
  const timed = (times.length > UNTIMED ? times.slice(UNTIMED) : times).sort((a, b) => a - b);
  return timed[timed.length >> 1]!;
}

/** One update of a sweep. */
export interface SweepStep {
  readonly step: number;
  readonly of: number;
  readonly lr: number;
  readonly loss: number;
  /** The loss as a running mean that begins without bias. */
  readonly smooth: number;
}

export interface SweepOptions {
  /** Learning rates at the first and the last update. */
  from?: number;
  to?: number;
  /** Updates. */
  steps?: number;
  signal?: AbortSignal;
}

/** Weight of the past in the running mean. */
const MEMORY = 0.9;
/** The sweep is over when the mean has risen so far above its lowest. */
const BLOWN = 2;

/**
 * Trains with a rate that rises from update to update in equal ratios, until the loss blows up or the end is reached:
 * the learning-rate range test of Smith 2017 (arXiv 1506.01186, section 3.3).
 */
export async function* sweepRates(
  task: Task,
  { from = 1e-6, to = 1, steps = 100, signal }: SweepOptions = {},
): AsyncGenerator<SweepStep> {
  if (!(from > 0 && to > from && steps > 1))
    throw new InputError(
      `a sweep of learning rates from ${from} to ${to} in ${steps} updates; want rising rates above 0 and at least 2 updates`,
      { from, to, steps },
    );
  let [mean, lowest] = [0, Number.POSITIVE_INFINITY];
  for (let step = 1; step <= steps; step++) {
    signal?.throwIfAborted();
    const lr = from * (to / from) ** ((step - 1) / (steps - 1));
    let loss: number;
    try {
      loss = (await task.step({ ...task.pace(step), lr })).metrics.loss!;
    } catch (error) {
      if (error instanceof NonFiniteError) return; // blown up for good
      throw error;
    }
    mean = MEMORY * mean + (1 - MEMORY) * loss;
    const smooth = mean / (1 - MEMORY ** step);
    yield { step, of: steps, lr, loss, smooth };
    lowest = Math.min(lowest, smooth);
    if (smooth > BLOWN * lowest) return;
  }
}

export interface FoundRate {
  /** Where the loss falls fastest: to begin with. */
  readonly steepest: number;
  /** Where it is lowest: more is too much. */
  readonly lowest: number;
}

/** Slopes are taken over so many updates to each side. */
const REACH = 3;

/**
 * What a sweep says. The running mean lags behind, so slopes are looked for before its lowest point only.
 * @throws InputError when the loss never fell
 */
export function foundRate(sweep: readonly SweepStep[]): FoundRate {
  const losses = sweep.map(({ smooth }) => smooth);
  const bottom = losses.indexOf(Math.min(...losses));
  let [steepest, slope] = [-1, 0];
  for (let i = REACH; i <= bottom - REACH; i++) {
    const own = losses[i + REACH]! - losses[i - REACH]!; // rates rise in equal ratios: no division needed
    if (own < slope) [steepest, slope] = [i, own];
  }
  if (steepest < 0)
    throw new InputError(
      `the loss did not fall in ${sweep.length} updates of rising rate; begin the sweep lower, or look at the pictures`,
      { updates: sweep.length },
    );
  return { steepest: sweep[steepest]!.lr, lowest: sweep[bottom]!.lr };
}
