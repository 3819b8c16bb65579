/** Trials before a run, for all trainers: what it will take (--dry-run), which learning rate suits (--find-lr). Trains no model. */

import { mkdir } from "node:fs/promises";
import { freemem } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { InputError } from "../formats/errors.ts";
import { writeFileAtomic } from "../formats/node.ts";
import { figurePng } from "../lab/figure.node.ts";
import { studyPlot } from "../lab/study/index.ts";
import type { Task } from "../train/loop.ts";
import { foundRate, type SweepStep, sweepRates, updateTime } from "../train/trial.ts";
import { numberFlag } from "./flags.ts";
import { bytes, duration, figure, table } from "./format.ts";
import { progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";
import { costRows, type TrainCost } from "./train-cost.ts";
import type { Json } from "./training.ts";

/** Share of the free memory that a trial may ask for: estimates are good to a factor of two. */
const ROOM = 0.5;

export interface PlanOptions {
  readonly recipe: Json & { readonly steps: number };
  readonly json: boolean;
  readonly next: string;
  readonly signal: AbortSignal;
  /** The trainer at its start, for a few updates on trial. */
  readonly open: () => Promise<Task>;
}

/** Prints the plan of --dry-run, with the time that a few real updates say; on stdout as JSON where that is wanted. */
export async function printPlan(
  terminal: Terminal,
  cost: TrainCost,
  { recipe, json, next, signal, open }: PlanOptions,
): Promise<void> {
  const wanted = cost.stateBytes + cost.activationBytes;
  const fits = wanted < ROOM * freemem();
  let trouble = fits ? undefined : `it may take ${bytes(wanted)} of memory`;
  const ms = await (fits ? timed(open, signal) : undefined)?.catch((error: unknown) => {
    if (!(error instanceof InputError)) throw error;
    trouble = error.message;
    return undefined;
  });
  const rows: [string, string][] =
    ms === undefined
      ? [["time to finish", "not tried"]]
      : [
          ["one update, on trial", duration(ms)],
          ["time to finish", duration(ms * recipe.steps)],
        ];
  const time = ms === undefined ? {} : { msPerUpdate: ms, ms: ms * recipe.steps };
  if (json) terminal.print(JSON.stringify({ recipe, cost: { ...cost, ...time } }));
  else terminal.say(table([...costRows(cost), ...rows], { right: [1] }));
  if (trouble) terminal.say(`mind: ${trouble}`);
  terminal.say(terminal.dim(`next: ${next}`));
}

async function timed(open: PlanOptions["open"], signal: AbortSignal): Promise<number> {
  const task = await open();
  try {
    return await updateTime(task, { signal });
  } finally {
    await task.release();
  }
}

/** The usual length of a sweep. */
const SWEEP = 100;

export const addTrialFlags = (command: Command): Command =>
  numberFlag(
    command.option(
      "--dry-run",
      "Print parameters, FLOPs, memory and time, and train nothing",
      false,
    ),
    "--find-lr [updates]",
    {
      sentence: `Train nothing, but try rising learning rates and draw the loss; ${SWEEP} updates unless told`,
      ...{ min: 20, max: 100_000 },
    },
  );

/** A sweep of learning rates; its picture goes into the run's folder, which may be used afterwards. */
export async function printFoundRate(
  terminal: Terminal,
  task: Task,
  options: {
    folder: string;
    updates: number | true;
    json: boolean;
    again: string;
    signal: AbortSignal;
  },
): Promise<void> {
  const { folder, updates, json, again, signal } = options;
  const steps = updates === true ? SWEEP : updates;
  const sweep: SweepStep[] = [];
  const shown = progress(terminal, { of: steps, what: "trying rates" });
  try {
    for await (const step of sweepRates(task, { steps, signal })) {
      sweep.push(step);
      shown.update(step.step, `rate ${figure(step.lr)}  loss ${figure(step.smooth)}`);
    }
  } finally {
    shown.clear();
    await task.release();
  }
  const found = foundRate(sweep);
  const line = (y: (step: SweepStep) => number) =>
    sweep.map((step) => ({ x: step.lr, y: y(step) }));
  const svg = studyPlot(
    [
      { label: "loss of each update", points: line(({ loss }) => loss), as: "dots" },
      { label: "running mean", points: line(({ smooth }) => smooth), as: "line" },
    ],
    {
      title: "Loss while the learning rate rises",
      x: "learning rate",
      y: "loss",
      logX: true,
      key: "bottom-left",
    },
  );
  await mkdir(folder, { recursive: true });
  const file = join(folder, "find-lr.png");
  await writeFileAtomic(file.replace(/png$/, "svg"), new TextEncoder().encode(svg));
  await writeFileAtomic(file, await figurePng(svg));
  if (json) terminal.print(JSON.stringify({ ...found, updates: sweep.length, file }));
  terminal.say(
    `the loss falls fastest at ${figure(found.steepest)} and is lowest at ${figure(found.lowest)}; drew ${file} and .svg`,
  );
  terminal.say(terminal.dim(`next: ${again} --lr ${found.steepest.toPrecision(2)}`));
}
