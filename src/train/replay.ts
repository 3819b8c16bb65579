/** Does updates of a run again, from states that were kept, and compares them bit by bit with what its ledger says. */

import { InputError } from "../formats/errors.ts";
import {
  differingTensors,
  type Hash,
  type Sketcher,
  sketchRoot,
  sortedNames,
  stateRoot,
} from "../guard/state/index.ts";
import { batchRootOf } from "./batch-root.ts";
import type { History, StepRecord } from "./history.ts";
import type { Task } from "./loop.ts";
import type { Checkpoint } from "./run.node.ts";

/** What is needed to do a run again. */
export interface ReplaySource {
  readonly history: History;
  /** Kept states, by update, rising; the start of the run needs none. */
  readonly states: { readonly steps: readonly number[]; read(step: number): Promise<Checkpoint> };
  /** The trainer of a configuration, from a state or from the start. */
  open(config: Readonly<Record<string, unknown>>, checkpoint?: Checkpoint): Promise<Task>;
}

export interface ReplayOptions {
  /** The run's key for sketches. Without it only updates with a full root can be judged by their state. */
  readonly sketcher?: Sketcher;
  readonly hash: Hash;
  readonly signal?: AbortSignal;
}

/** What came of an update, or of a kept state. */
export interface Judgement {
  readonly step: number;
  /** Whether it was asked for, or only lies on the way from a kept state. */
  readonly asked: boolean;
  /** "unreachable": no state was kept between it and an update that differs, or the beginning of its ledger. */
  readonly verdict: "same" | "different" | "unreachable";
  /** What is not as the ledger says, causes before effects; empty where it is the same. */
  readonly differences: readonly string[];
  /** Tensors that differ, in the order of the model: the first of them, and everything it moved. */
  readonly tensors: readonly string[];
}

export interface Replayed extends Judgement {
  /** Updates done so far, and of how many. */
  readonly done: number;
  readonly of: number;
}

/** Updates that one kept state leads to. */
interface Leg {
  readonly from: number;
  readonly asked: readonly number[];
}

/** The asked updates, each with the nearest kept state before it. */
function legsOf(asked: readonly number[], kept: readonly number[]): Leg[] {
  const legs = new Map<number, number[]>();
  for (const step of asked) {
    const from = kept.findLast((s) => s < step) ?? 0;
    legs.set(from, [...(legs.get(from) ?? []), step]);
  }
  return [...legs].map(([from, steps]) => ({ from, asked: steps }));
}

/** Updates that must be done for these. */
export const replayLength = (asked: readonly number[], kept: readonly number[]): number =>
  legsOf(asked, kept).reduce((sum, leg) => sum + leg.asked.at(-1)! - leg.from, 0);

/**
 * Does the asked updates again (rising), each from the nearest kept state before it. Every update on the way is compared
 * too: a difference is told at the first update that has it. @throws InputError where the ledger lacks an asked update
 */
export async function* replay(
  asked: readonly number[],
  source: ReplaySource,
  options: ReplayOptions,
): AsyncGenerator<Replayed> {
  const { history, states } = source;
  for (const step of asked)
    if (!history.steps.has(step))
      throw new InputError(`the ledger has no update ${step}; choose among those it has`);
  const of = replayLength(asked, states.steps);
  let done = 0;
  for (const leg of legsOf(asked, states.steps))
    for await (const judged of replayLeg(leg, source, options)) {
      if (judged.verdict !== "unreachable" && judged.step > leg.from) done++;
      yield { ...judged, done, of };
    }
}

const lost = (steps: readonly number[]): Judgement[] =>
  steps.map((step) => ({
    ...{ step, asked: true, verdict: "unreachable", differences: [], tensors: [] },
  }));

async function* replayLeg(
  { from, asked }: Leg,
  { history, states, open }: ReplaySource,
  options: ReplayOptions,
): AsyncGenerator<Judgement> {
  const { hash, signal } = options;
  if (from === 0 && !history.roots.has(0)) {
    yield* lost(asked); // the ledger began in the midst of the run
    return;
  }
  const configAt = (step: number) => history.configs[history.steps.get(step)?.config ?? 0]!;
  const checkpoint = from > 0 ? await states.read(from) : undefined;
  let task = await open(configAt(from + 1), checkpoint);
  try {
    const root = stateRoot({ tensors: task.tensors(), position: task.position() }, hash);
    if (root !== history.roots.get(from)) {
      const differences = [from > 0 ? "kept state" : "state before the first update"];
      yield { step: from, asked: false, verdict: "different", differences, tensors: [] };
      yield* lost(asked);
      return;
    }
    for (let step = from + 1; step <= asked.at(-1)!; step++) {
      signal?.throwIfAborted();
      if (step > from + 1 && configAt(step) !== configAt(step - 1)) {
        const old = task;
        const state = { step: step - 1, position: old.position(), tensors: old.tensors() };
        task = await open(configAt(step), state);
        await old.release();
      }
      const found = await doAgain(task, history.steps.get(step), { ...options, step });
      const different = found.differences.length > 0;
      yield {
        ...{ step, asked: asked.includes(step), verdict: different ? "different" : "same" },
        ...found,
      };
      if (different) {
        yield* lost(asked.filter((s) => s > step));
        return;
      }
    }
  } finally {
    await task.release();
  }
}

/** Facts of an update besides its state, in words; causes before effects. */
const FACTS = {
  learningRate: "learning rate of the schedule",
  weightDecay: "weight decay of the schedule",
  batchRoot: "batch",
  applied: "numbers the update was computed with",
  loss: "loss",
  gradientNorm: "gradient norm",
} as const satisfies Partial<Record<keyof StepRecord, string>>;

/** As the ledger's JSON says it: sorted, and numbers that are none as text. */
const said = (value: unknown): string =>
  typeof value === "object" && value !== null
    ? Object.entries(value)
        .map(([key, v]) => `${key} ${said(v)}`)
        .sort()
        .join()
    : String(value);

/** One update, done and compared. */
async function doAgain(
  task: Task,
  record: StepRecord | undefined,
  { step, hash, sketcher }: ReplayOptions & { step: number },
): Promise<Pick<Judgement, "differences" | "tensors">> {
  const pace = task.pace(step);
  const { metrics, batch, applied } = await task.step(pace);
  if (!record) return { differences: ["the ledger lacks this update"], tensors: [] };
  const now: Record<keyof typeof FACTS, unknown> = {
    ...{ learningRate: pace.lr, weightDecay: pace.weightDecay, applied },
    ...{ batchRoot: batchRootOf(batch, hash), loss: metrics.loss, gradientNorm: metrics.gradNorm },
  };
  const differences = (Object.keys(FACTS) as (keyof typeof FACTS)[])
    .filter((key) => said(now[key]) !== said(record[key]))
    .map((key) => `${FACTS[key]}: the ledger has ${said(record[key])}, it is ${said(now[key])}`);
  const [state, position] = [task.tensors(), task.position()];
  let tensors: string[] = [];
  if (sketcher) {
    const sketches = sketcher.state(state);
    tensors = differingTensors(sortedNames(state), record.sketches, sketches);
    if (tensors.length > 0) differences.push(`${tensors.length} of ${state.size} tensors`);
    else if (sketchRoot(sketches, position, hash) !== record.sketchAfter)
      differences.push("data cursor");
  }
  if (record.stateAfter && stateRoot({ tensors: state, position }, hash) !== record.stateAfter)
    if (tensors.length === 0) differences.push("root over the whole state");
  // In the order of the model: what is first there is nearer to the cause than what is first in the alphabet.
  return { differences, tensors: [...state.keys()].filter((name) => tensors.includes(name)) };
}
