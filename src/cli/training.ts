/** What both trainers share on the command line: data, the run's folder, the bar, Ctrl-C, the closing lines. */

import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { DATASET_SYNTAX, openDataset, prepareDataset } from "../data/open.ts";
import type { ImageDataset } from "../data/types.ts";
import { InputError } from "../formats/errors.ts";
import type { SizeOption } from "../formats/picture-size.ts";
import type { Backend } from "../tensor/backend.ts";
import { openBackend } from "../tensor/backend.ts";
import { type Task, type TrainEvent, trainLoop } from "../train/loop.ts";
import type { Checkpoint, Metrics, OpenedRun } from "../train/run.node.ts";
import type { TokenSet } from "../train/tokens.ts";
import { numberFlag } from "./flags.ts";
import { figure, plural } from "./format.ts";
import { progress } from "./progress.ts";
import { addRecipeFlags, LOOP_FLAGS, readRecipe } from "./recipe-flags.ts";
import { addLedgerFlags, type LedgerFlags, openRunLedger } from "./run-ledger.ts";
import { addSentinelFlags, openSentinel, type SentinelFlags } from "./run-sentinel.ts";
import { addTrackerFlags, openTrackers, type TrackerFlags } from "./run-trackers.ts";
import type { Terminal } from "./terminal.ts";
import { addTrialFlags } from "./trial.ts";

/** What both trainers take besides their recipe. */
export interface SharedFlags extends LedgerFlags, SentinelFlags, TrackerFlags {
  readonly run: string;
  readonly dryRun: boolean;
  readonly findLr?: number | true;
  readonly json: boolean;
  readonly threads?: number;
  readonly strict: boolean;
}

/** The argument and the flags of both trainers. */
export function addSharedFlags(command: Command, folder: string): Command {
  command
    .argument("<data>", `Pictures to learn: ${DATASET_SYNTAX.join("; ")}`)
    .option(
      "--run <folder>",
      "Folder for recipe, metrics, checkpoint and sheets; a run that is there goes on",
      folder,
    )
    .option("--json", "Print what happens as one JSON object per line on stdout", false)
    .option("--strict", "Stop at files that are broken, tiny, CMYK, animated, ...", false);
  numberFlag(command, "--threads <n>", {
    sentence: "Processor threads, default all",
    min: 1,
    max: 1024,
  });
  addTrialFlags(command);
  addRecipeFlags(command, LOOP_FLAGS, {});
  addLedgerFlags(command);
  addSentinelFlags(command);
  addTrackerFlags(command);
  return command;
}

/** Plain JSON by key, as a run's folder holds it. */
export type Json = Readonly<Record<string, unknown>>;

/** What the run in `folder` was started with; undefined where there is none. */
export function earlierRecipe(folder: string): Json | undefined {
  const file = join(folder, "run.json");
  if (!existsSync(file)) return undefined;
  try {
    const recipe: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (typeof recipe === "object" && recipe !== null) return recipe as Json;
  } catch {
    // falls to the sentence below
  }
  throw new InputError(`${file} is not the recipe of a run; move the folder away to start afresh`, {
    file,
  });
}

/** A part of an earlier recipe that is an object itself. */
export const partOf = (recipe: Json | undefined, key: string): Json | undefined =>
  recipe?.[key] as Json | undefined;

/** A file that a run depends on, as its recipe names it. */
export interface NamedFile {
  readonly file: string;
  /** First 16 hex digits of SHA-256 of the file. */
  readonly hash: string;
}

export const fileOf = (before: Json | undefined, key: string): NamedFile | undefined =>
  partOf(before, key) as NamedFile | undefined;

/** A file as a recipe names it. It may have moved since: its hash says whether it is the same. */
export function named({ file, hash }: NamedFile, before: Json | undefined, key: string): NamedFile {
  const earlier = fileOf(before, key);
  return earlier?.hash === hash ? earlier : { file: resolve(file), hash };
}

/** @throws InputError where a file that the recipe names is another now. @param what it should be, as "the tokenizer of the run" */
export function checkSame({ file, hash }: NamedFile, found: NamedFile, what: string): void {
  if (found.hash === hash) return;
  throw new InputError(
    `${file}: this is not ${what}: its SHA-256 begins with ${found.hash}, the run has ${hash}; restore the file`,
    { file },
  );
}

export type RunKind = "vqvae" | "var" | "classifier";

/** What a run is made of: enough to begin it, to go on with it, and to do parts of it again. */
export interface RunSource {
  readonly kind: RunKind;
  readonly data: { readonly train: ImageDataset; readonly test: ImageDataset };
  /** What is read in place of the pictures, where that is computed beforehand. */
  readonly tokens?: TokenSet;
  readonly backend: Backend;
  /** The trainer, at its start or as a checkpoint says. */
  open(checkpoint?: Checkpoint): Promise<Task>;
}

export interface SourceOptions {
  readonly threads?: number;
  /** Odd files of a folder stop the command instead of being taken or left out. */
  readonly strict?: boolean;
  readonly signal: AbortSignal;
}

/** A backend that uses that many threads. */
export async function backendWith(threads: number | undefined): Promise<Backend> {
  const backend = await openBackend();
  return {
    name: backend.name,
    compile: (graph, options) => backend.compile(graph, { threads, ...options }),
  };
}

/** Both splits at the model's size; the slow part with a bar. */
export async function openSplits(
  terminal: Terminal,
  spec: string,
  { size, strict, signal }: { size: SizeOption; strict?: boolean; signal: AbortSignal },
): Promise<{ train: ImageDataset; test: ImageDataset }> {
  let shown: ReturnType<typeof progress> | undefined;
  for await (const { done, total } of prepareDataset(spec, { size, signal })) {
    shown ??= progress(terminal, { of: total, what: "drawing pictures" });
    shown.update(done);
  }
  const options = { size, strict, broken: strict ? "throw" : "skip", signal } as const;
  const [train, test] = [
    await openDataset(spec, { ...options, split: "train" }),
    await openDataset(spec, { ...options, split: "test" }),
  ];
  for (const line of findingLines([train, test])) terminal.say(line);
  terminal.say(
    `${spec}: ${plural(train.count, "picture")} to learn, ${plural(test.count, "picture")} to test, ${plural(train.classes.length, "class", "classes")}`,
  );
  return { train, test };
}

/** Files named at most, of those of which there is the same to say. */
const NAMED = 3;

/** "3 files are CMYK (taken as sRGB): a.jpg, b.jpg, c.jpg": what is to be said of a folder's files, by kind. */
export function findingLines(sets: readonly ImageDataset[]): string[] {
  const kinds = new Map<string, { done: string; files: string[] }>();
  for (const { what, done, files } of sets.flatMap((set) => set.findings ?? [])) {
    const kind = kinds.get(what) ?? { done, files: [] };
    kind.files.push(...files);
    kinds.set(what, kind);
  }
  return [...kinds].map(([what, { done, files }]) => {
    const more = files.length > NAMED ? ` and ${files.length - NAMED} more` : "";
    const are = files.length === 1 ? "is" : "are";
    return `${plural(files.length, "file")} ${are} ${what} (${done}): ${files.slice(0, NAMED).join(", ")}${more}`;
  });
}

export interface TrainingOptions {
  readonly command: Command;
  readonly signal: AbortSignal;
  /** The metric that stands beside the loss in the bar. */
  readonly metric: string;
  /** The command that goes on with this run. */
  readonly again: string;
  /** The command to try with the finished file. */
  readonly next: (file: string) => string;
}

/** A run that was opened, with what it trains. */
interface TrainedRun extends OpenedRun<{ readonly steps: number }> {
  readonly source: RunSource;
}

/** What the engine takes when it is not told. */
const threadsOf = (threads: number | undefined): number => threads ?? availableParallelism();

/**
 * Trains to the end or to Ctrl-C. @returns the exit code: 130 where it was stopped, with the checkpoint saved and
 * the way on printed
 */
export async function train(
  terminal: Terminal,
  { source, run, checkpoint, config }: TrainedRun,
  options: TrainingOptions,
): Promise<number> {
  const { signal, command } = options;
  const flags = command.opts<SharedFlags>();
  const { steps } = config;
  const done = checkpoint?.step ?? 0;
  const every = readRecipe(command, ["saveEvery", "evaluateEvery", "drawEvery"], undefined);
  if (done > 0) terminal.say(`${run.folder}: goes on after ${plural(done, "update")} of ${steps}`);
  const parts = { run, source, recipe: { ...config }, threads: threadsOf(flags.threads) };
  const ledger = flags.ledger ? await openRunLedger(terminal, parts, flags) : undefined;
  const task = await source.open(checkpoint).catch(async (error: unknown) => {
    await ledger?.close?.();
    throw error;
  });
  const shown = progress(terminal, { of: steps, from: done, what: "training" });
  const say = (line: string) => {
    shown.clear();
    terminal.say(line);
  };
  const sentinel = flags.sentinel && (await openSentinel(task, flags, { say, ledger }));
  const trackers = openTrackers(flags, { run: run.folder, recipe: config, say });
  const watchers = [ledger, sentinel, ...trackers].filter((watcher) => !!watcher);
  const lines: { [K in TrainEvent["kind"]]: (event: Extract<TrainEvent, { kind: K }>) => void } = {
    step: ({ step, metrics }) => shown.update(step, metricsLine(metrics, ["loss", options.metric])),
    evaluation: ({ step, metrics, remarks }) => {
      say(`update ${step}: ${metricsLine(metrics, Object.keys(metrics))}`);
      for (const remark of remarks) say(`  mind: ${remark}`);
    },
    sheet: ({ file }) => say(terminal.dim(`drew ${file}`)),
    checkpoint: () => {},
    stopped: ({ step }) => {
      say(`stopped after update ${step} of ${steps}, everything is saved in ${run.folder}`);
      say(`next: ${options.again}`);
    },
    finished: ({ file, step, why }) => {
      if (why) say(`ended after update ${step} of ${steps}: ${why}`);
      say(`saved ${file}`);
      say(`next: ${options.next(file)}`);
    },
  };
  let stopped = false;
  try {
    for await (const event of trainLoop(task, run, { steps, done, signal, watchers, ...every })) {
      if (flags.json) terminal.print(JSON.stringify(event));
      (lines[event.kind] as (event: TrainEvent) => void)(event);
      stopped = event.kind === "stopped";
      if (event.kind === "step") await breathe();
    }
  } finally {
    shown.clear();
  }
  return stopped ? 130 : 0;
}

const metricsLine = (metrics: Metrics, keys: readonly string[]): string =>
  keys
    .filter((key) => metrics[key] !== undefined)
    .map((key) => `${key} ${figure(metrics[key]!)}`)
    .join("  ");

/** The native runtime blocks the event loop while it computes; between updates, signals get their turn. */
const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
