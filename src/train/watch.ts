/** What may look at a run while it trains: ledgers, sentinels, trackers. Says what they are told; watches nothing. */

import type { TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import type { Pace } from "../nn/optim.ts";
import type { Tensors } from "../tensor/backend.ts";
import type { Metrics, Run } from "./run.node.ts";

/**
 * The whole state of a run at one moment. Views of the buffers that the step writes: what they show is gone when the
 * next update begins. Copy or hash it before your promise is kept; writing into it changes the run.
 */
export interface RunState {
  /** Weights, moments and counters, as a checkpoint holds them. The map is made anew at each call, the data is not. */
  tensors(): TensorMap;
  /** The rest, as a checkpoint holds it: cursors. Plain JSON. */
  position(): unknown;
}

/** What an update read. */
export interface BatchSeen {
  readonly epoch: number;
  /** Positions in the training split, in the order they were read. */
  readonly indices: ArrayLike<number>;
  /** What each run of the graph was fed: contents, labels, masks. One for an update without accumulation. */
  readonly feeds: readonly Tensors[];
}

/** What a trainer tells of an update. */
export interface Stepped {
  readonly metrics: Metrics;
  readonly batch: BatchSeen;
  /** Milliseconds of its parts: `data` until the batch is there, `run` in the graph, and what else there is. */
  readonly phases: Readonly<Record<string, number>>;
  /** Scalars the update was computed with, as they were fed or built in: rates, betas. */
  readonly applied: Readonly<Record<string, number>>;
}

export interface StartEvent extends RunState {
  readonly run: Run;
  /** Updates of the whole run. */
  readonly of: number;
  /** Updates done already: more than 0 after a resume. */
  readonly done: number;
}

export interface BeforeStepEvent extends RunState {
  /** Count of the update to come, from 1. */
  readonly step: number;
  readonly of: number;
  readonly pace: Pace;
}

export interface AfterStepEvent extends RunState, Stepped {
  readonly step: number;
  readonly of: number;
  /** What the schedule asked for; compare `applied`. */
  readonly pace: Pace;
  /** Milliseconds of the whole update, without the watchers. */
  readonly ms: number;
  /** Parameters and moments as they were when the graph read them, under the names of `tensors`. Views too. */
  before(): TensorMap;
}

export interface EvaluationEvent {
  readonly step: number;
  readonly metrics: Metrics;
}

export interface SheetEvent {
  readonly step: number;
  readonly file: string;
}

export interface CheckpointEvent extends RunState {
  readonly step: number;
  /** The file, whole and on the disk. */
  readonly file: string;
}

export interface EndEvent extends RunState {
  readonly step: number;
}

/**
 * Told what happens, in this order: `start`; for each update `beforeStep`, `afterStep`, then what is due of `evaluation`,
 * `sheet`, `saving`, `checkpoint`; at last `finish`, or `stop` when it was asked to, or `error`; and always `close`.
 * The run waits for each promise: what takes long belongs into a worker. A watcher that throws stops the run, which
 * keeps its last checkpoint and saves no other; throw AlarmError where the run is not to be trusted.
 */
export interface Watcher {
  /** Stands in messages. */
  readonly name: string;
  start?(event: StartEvent): Promise<void> | void;
  beforeStep?(event: BeforeStepEvent): Promise<void> | void;
  afterStep?(event: AfterStepEvent): Promise<void> | void;
  evaluation?(event: EvaluationEvent): Promise<void> | void;
  sheet?(event: SheetEvent): Promise<void> | void;
  /** Before a checkpoint is written. */
  saving?(event: EndEvent): Promise<void> | void;
  /** After it was written. */
  checkpoint?(event: CheckpointEvent): Promise<void> | void;
  /** The run was asked to stop before its end. */
  stop?(event: EndEvent): Promise<void> | void;
  /** The run did all its updates; `file` is the model. */
  finish?(event: EndEvent & { readonly file: string }): Promise<void> | void;
  /** The run ends because something threw: a watcher or the trainer. */
  error?(event: { readonly step: number; readonly error: unknown }): Promise<void> | void;
  /** Always the last call, also where `start` threw. */
  close?(): Promise<void> | void;
}

/** A watcher stops a run: something is not as it should be. The command line ends with exit code 2. */
export class AlarmError extends InputError {}

type Hook = Exclude<keyof Watcher, "name" | "close">;
type EventOf<K extends Hook> = Parameters<NonNullable<Watcher[K]>>[0];

/** Tells every watcher, one after the other. */
export async function tell<K extends Hook>(
  watchers: readonly Watcher[],
  hook: K,
  event: EventOf<K>,
): Promise<void> {
  for (const watcher of watchers)
    await (watcher[hook] as ((event: EventOf<K>) => Promise<void> | void) | undefined)?.call(
      watcher,
      event,
    );
}

/** Tells of an error or closes: every watcher gets its turn, and the first that fails is thrown afterwards. */
export async function tellAll(
  watchers: readonly Watcher[],
  say: (watcher: Watcher) => Promise<void> | void | undefined,
): Promise<void> {
  const failures: unknown[] = [];
  for (const watcher of watchers)
    try {
      await say(watcher);
    } catch (error) {
      failures.push(error);
    }
  if (failures.length > 0) throw failures[0];
}
