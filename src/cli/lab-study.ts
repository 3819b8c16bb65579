/** What the commands of `underpaint lab` share: flags, data, bars, stopping, result files. */

import { existsSync, readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { availableParallelism, cpus, totalmem } from "node:os";
import { basename, join } from "node:path";
import { type Command, Option } from "commander";
import { DATASET_SYNTAX } from "../data/open.ts";
import { partOfDataset } from "../data/part.ts";
import { InputError } from "../formats/errors.ts";
import { writeFileAtomic } from "../formats/node.ts";
import { imageSize } from "../image/scales.ts";
import { trainCommand } from "../lab/command.ts";
import { figurePng } from "../lab/figure.node.ts";
import { shellWord } from "../lab/shell-word.ts";
import {
  type Study,
  type StudyEvent,
  type StudyRecipe,
  type StudyRun,
  trainRun,
} from "../lab/study/index.ts";
import type { Recipe } from "../lab/trained.node.ts";
import { numberFlag } from "./flags.ts";
import { figure } from "./format.ts";
import { tokenizerFile } from "./package.ts";
import { type Progress, progress } from "./progress.ts";
import { AUGMENT_FLAGS, addRecipeFlags, type RecipeFlags, readRecipe } from "./recipe-flags.ts";
import type { Terminal } from "./terminal.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";
import { backendWith, openSplits } from "./training.ts";

const STUDY_FLAGS: RecipeFlags<
  | "steps"
  | "batch"
  | "lr"
  | "warmup"
  | "lrEnd"
  | "seed"
  | "variants"
  | "pictures"
  | "testPictures"
  | "hours"
> = {
  steps: {
    sentence: "Length of VAR's training; other models get the same FLOPs",
    unit: "updates",
    min: 1,
    max: 1e9,
    fallback: 2000,
  },
  batch: { sentence: "Size of a batch", unit: "pictures", min: 1, max: 65_536, fallback: 32 },
  lr: { sentence: "Highest learning rate", real: true, min: 0, max: 10, fallback: 1e-3 },
  warmup: {
    sentence: "Linear rise of the learning rate",
    unit: "updates",
    min: 0,
    max: 1e9,
    fallback: 100,
  },
  lrEnd: {
    sentence: "Learning rate at the end over the highest",
    real: true,
    min: 0,
    max: 1,
    fallback: 0.05,
  },
  seed: { sentence: "Where all chance comes from", min: 0, max: 2 ** 32 - 1, fallback: 0 },
  variants: {
    sentence: "Changed versions of every picture, one per epoch in turn",
    min: 1,
    max: 1024,
    fallback: 2,
  },
  pictures: {
    sentence: "At most this many to learn from, evenly over the set",
    min: 1,
    max: 1e9,
    fallback: 20_000,
  },
  testPictures: { sentence: "At most this many to test on", min: 1, max: 1e9, fallback: 512 },
  hours: {
    sentence: "Stops after so long, everything saved; the same command goes on",
    real: true,
    min: 0,
    max: 1000, // timers hold 2^32 milliseconds
  },
};
const STUDY_KEYS = Object.keys(STUDY_FLAGS) as (keyof typeof STUDY_FLAGS)[];
const AUGMENT_KEYS = Object.keys(AUGMENT_FLAGS) as (keyof typeof AUGMENT_FLAGS)[];

export interface StudyFlags {
  readonly tokenizer: string;
  readonly run: string;
  readonly out: string;
  readonly threads?: number;
}

/** What the three commands take alike. */
export function addStudyFlags(command: Command, name: string): Command {
  command
    .argument("<data>", `Pictures to learn: ${DATASET_SYNTAX.join("; ")}`)
    .requiredOption("--tokenizer <path>", "VAR's tokenizer: its file, or the folder of its run")
    .option("--run <folder>", "Folder of all training runs; what is there goes on", `runs/${name}`)
    .addOption(
      new Option("--out <path>", "Where results go: PATH.md, PATH.json, PATH-*.png").default(name),
    );
  addRecipeFlags(command, STUDY_FLAGS, {});
  addRecipeFlags(command, AUGMENT_FLAGS, {
    flip: 0.5,
    shift: 0,
    scale: 0,
    hue: 0,
    saturation: 0,
    brightness: 0,
  });
  numberFlag(command, "--threads <n>", {
    sentence: "Processor threads, default all",
    min: 1,
    max: 1024,
  });
  return command;
}

/** Everything a command works with. */
export interface OpenedStudy {
  readonly study: Study;
  readonly tokenizer: Tokenizer;
  readonly classes: number;
  readonly steps: number;
}

/** Data, tokenizer and recipe from the flags; `--hours` becomes the study's signal. */
export async function openStudy(
  terminal: Terminal,
  { data, command, signal }: { data: string; command: Command; signal: AbortSignal },
): Promise<OpenedStudy> {
  const flags = command.opts() as StudyFlags;
  const tokenizer = await loadTokenizer(tokenizerFile(flags.tokenizer));
  const values = readRecipe(command, STUDY_KEYS, undefined);
  const { steps, pictures, testPictures, hours, ...recipe } = values;
  const stop =
    hours === undefined ? signal : AbortSignal.any([signal, AbortSignal.timeout(hours * 3.6e6)]);
  const sets = await openSplits(terminal, data, {
    size: imageSize(tokenizer.config),
    signal: stop,
  });
  const train = partOfDataset(sets.train, pictures!);
  const test = partOfDataset(sets.test, testPictures!);
  const augment = readRecipe(command, AUGMENT_KEYS, undefined);
  const study: Study = {
    ...{ folder: flags.run, data, train, test, signal: stop },
    backend: await backendWith(flags.threads),
    recipe: { ...recipe, augment } as StudyRecipe, // every flag of it has a default
  };
  return { study, tokenizer, classes: train.classes.length, steps: steps! };
}

/** Trains runs one after the other with a bar each; those that are finished cost nothing. */
export async function trainAll(
  terminal: Terminal,
  study: Study,
  runs: readonly StudyRun[],
): Promise<void> {
  for (const [i, run] of runs.entries()) {
    const place = `${run.name} (${i + 1} of ${runs.length})`;
    const bars: Partial<Record<StudyEvent["doing"], Progress>> = {};
    const bar = (doing: StudyEvent["doing"], of: number, from = 0) => {
      bars[doing] ??= progress(terminal, { of, from, what: `${doing} ${place}` });
      return bars[doing];
    };
    try {
      for await (const event of trainRun(study, run)) {
        if (event.doing === "encoding") bar("encoding", event.of).update(event.done);
        else if (event.event.kind === "step") {
          const { step, of, metrics } = event.event;
          bar("training", of, step - 1).update(step, `loss ${figure(metrics.loss!)}`);
        } else if (event.event.kind === "evaluation") {
          bars.training?.clear();
          const { step, metrics } = event.event;
          const words = Object.entries(metrics).map(([key, value]) => `${key} ${figure(value)}`);
          terminal.say(`${place}: update ${step}: ${words.join("  ")}`);
        }
        await breathe();
      }
    } finally {
      for (const each of Object.values(bars)) each?.clear();
    }
  }
}

/** The native runtime blocks the event loop while it computes; between updates, signals and clocks get their turn. */
export const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Runs a study's work; a stop by Ctrl-C or `--hours` ends it with the way on. @returns the exit code */
export async function stoppable(
  terminal: Terminal,
  { again, work }: { again: string; work: () => Promise<void> },
): Promise<number> {
  try {
    await work();
    return 0;
  } catch (error) {
    const stopped =
      error instanceof Error && ["AbortError", "Interrupted", "TimeoutError"].includes(error.name);
    if (!stopped) throw error;
    terminal.say(
      `${error.name === "TimeoutError" ? "the hours are over" : "stopped"}; everything is saved`,
    );
    terminal.say(`next: ${again}`);
    return 130;
  }
}

/** Writes PATH.md, PATH.json, and figures as PATH-NAME.svg and .png. */
export async function writeResults(
  terminal: Terminal,
  out: string,
  {
    report,
    json,
    figures = {},
    pictures = {},
  }: {
    report: string;
    json: unknown;
    figures?: Readonly<Record<string, string>>;
    pictures?: Readonly<Record<string, Uint8Array>>;
  },
): Promise<void> {
  if (out === "" || out.endsWith("/"))
    throw new InputError(`--out ${out} names a folder; name files, as in ${join(out, "results")}`);
  await mkdir(join(out, ".."), { recursive: true });
  const utf8 = new TextEncoder();
  const write = (ending: string, bytes: Uint8Array) => writeFileAtomic(`${out}${ending}`, bytes);
  const shown = [...Object.keys(figures), ...Object.keys(pictures)];
  const gallery = shown.map((name) => `\n![${name}](${basename(out)}-${name}.png)\n`);
  await write(".md", utf8.encode(`${report.trimEnd()}\n${gallery.join("")}`));
  await write(".json", utf8.encode(`${JSON.stringify(json, null, 2)}\n`));
  for (const [name, svg] of Object.entries(figures)) {
    await write(`-${name}.svg`, utf8.encode(svg));
    await write(`-${name}.png`, await figurePng(svg));
  }
  for (const [name, png] of Object.entries(pictures)) await write(`-${name}.png`, png);
  terminal.say(`wrote ${out}.md, ${out}.json and ${shown.length} pictures`);
}

/** How the tokenizers of a study were trained, where flags name the folders of their runs. */
export function tokenizerCommands(command: Command): string[] {
  const { tokenizer, rasterTokenizer } = command.opts() as Record<string, string | undefined>;
  return [tokenizer, rasterTokenizer].flatMap((run) => {
    const file = run && join(run, "run.json");
    if (!file || !existsSync(file)) return [];
    const recipe = JSON.parse(readFileSync(file, "utf8")) as Recipe;
    return [trainCommand(recipe, { kind: "vqvae", data: String(recipe.data), run })];
  });
}

/** What times were measured on, and when. */
export const machineNote = (): string =>
  `Measured on ${cpus()[0]?.model ?? "an unknown processor"} with ${availableParallelism()} threads and ${Math.round(totalmem() / 2 ** 30)} GiB of memory, Node ${process.versions.node}; ${new Date().toISOString().slice(0, 10)}.`;

/** The command line that was typed, for reports and for going on. */
export function commandLine(command: Command, data: string): string {
  const words = ["npx underpaint lab", command.name(), shellWord(data)];
  for (const option of command.options) {
    const key = option.attributeName();
    if (command.getOptionValueSource(key) !== "cli" || key === "hours" || key === "threads")
      continue;
    words.push(`${option.long} ${shellWord(String(command.getOptionValue(key)))}`);
  }
  return words.join(" ");
}
