/** `underpaint train classifier DATA`: trains what evaluation looks through. The loop and its words are in training.ts. */

import type { Command } from "commander";
import { type ClassifierConfig, classifierConfig, classifierSpecs } from "../eval/classifier.ts";
import { shellWord } from "../lab/shell-word.ts";
import { countParams } from "../nn/spec.ts";
import {
  CLASSIFIER_RECIPE,
  type ClassifierRecipe,
  classifierClasses,
  classifierTask,
} from "../train/classifier.ts";
import { type Checkpoint, openRun } from "../train/run.node.ts";
import { interruptible } from "./errors.ts";
import { givenFlags, listFlag, numberFlag } from "./flags.ts";
import {
  AUGMENT_FLAGS,
  addRecipeFlags,
  type RecipeFlags,
  readRecipe,
  UPDATE_FLAGS,
} from "./recipe-flags.ts";
import type { Terminal } from "./terminal.ts";
import { classifierCost } from "./train-cost.ts";
import {
  addSharedFlags,
  backendWith,
  earlierRecipe,
  type Json,
  openSplits,
  partOf,
  type RunSource,
  type SharedFlags,
  type SourceOptions,
  train,
} from "./training.ts";
import { printFoundRate, printPlan } from "./trial.ts";

const RECIPE_FLAGS: RecipeFlags<Exclude<keyof ClassifierRecipe, "model" | "augment" | "data">> = {
  ...UPDATE_FLAGS,
  weightDecay: { sentence: "Decoupled weight decay", real: true, min: 0, max: 10 },
  smoothing: { sentence: "Share of the target given to all classes", real: true, min: 0, max: 0.9 },
};

const SIZE = 64;

export function addTrainClassifier(parent: Command, terminal: Terminal): void {
  const command = parent
    .command("classifier")
    .description("Trains a small classifier, through which eval and sample --reject look");
  addSharedFlags(command, "runs/classifier");
  addRecipeFlags(command, RECIPE_FLAGS, CLASSIFIER_RECIPE);
  addRecipeFlags(command, AUGMENT_FLAGS, {
    flip: 0.5,
    shift: 0,
    scale: 0,
    hue: 0,
    saturation: 0,
    brightness: 0,
  });
  numberFlag(command, "--size <n>", {
    sentence: "Side of the pictures",
    unit: "pixels",
    min: 8,
    max: 4096,
    fallback: SIZE,
  });
  listFlag(command, "--widths <list>", {
    sentence: "Channels of each level, fine to coarse; default follows from the size",
  });
  command.action(async (data: string, flags: SharedFlags) => {
    process.exitCode = await interruptible((signal) =>
      run(terminal, { data, flags, command, signal }),
    );
  });
}

async function run(
  terminal: Terminal,
  {
    data,
    flags,
    command,
    signal,
  }: { data: string; flags: SharedFlags; command: Command; signal: AbortSignal },
): Promise<number> {
  const before = earlierRecipe(flags.run);
  const old = partOf(before, "model") as ClassifierConfig | undefined;
  const given = givenFlags(command);
  const { size: typed, widths } = command.opts();
  const size: number = given.has("size") || !old ? typed : old.size;
  const { threads, strict } = flags;
  const sets = await openSplits(terminal, data, { size, strict, signal });
  const model = classifierConfig(size, classifierClasses(sets.train.classes), {
    widths: given.has("widths") || !old ? widths : old.widths,
  });
  const recipe = readClassifierRecipe(command, before, { data, model });
  const again = `underpaint train classifier ${shellWord(data)} --run ${shellWord(flags.run)}`;
  if (flags.dryRun) {
    const { batch, steps } = recipe;
    const cost = classifierCost(model, countParams(classifierSpecs(model)), { batch, steps });
    const source = await classifierSource(terminal, recipe, { threads, signal, data: sets });
    const plan = { recipe: { ...recipe }, json: flags.json, next: again, signal };
    await printPlan(terminal, cost, { ...plan, open: () => source.open() });
    return 0;
  }
  if (flags.findLr) {
    const source = await classifierSource(terminal, recipe, { threads, signal, data: sets });
    const sweep = { folder: flags.run, updates: flags.findLr, json: flags.json, again, signal };
    await printFoundRate(terminal, await source.open(), sweep);
    return 0;
  }
  const opened = await openRun(flags.run, recipe, { mayChange: ["steps"] });
  const source = await classifierSource(terminal, recipe, { threads, signal, data: sets });
  return train(
    terminal,
    { ...opened, source },
    {
      command,
      signal,
      metric: "accuracy",
      again,
      next: (file) =>
        `underpaint eval ${shellWord(data)}:test --reference ${shellWord(data)}:train --network ${shellWord(file)}`,
    },
  );
}

/** What a classifier's run is made of, by its recipe. */
export async function classifierSource(
  terminal: Terminal,
  recipe: ClassifierRecipe,
  { threads, signal, data: opened }: SourceOptions & { data?: RunSource["data"] },
): Promise<RunSource> {
  const { size } = recipe.model;
  const data = opened ?? (await openSplits(terminal, String(recipe.data), { size, signal }));
  const backend = await backendWith(threads);
  const open = (checkpoint?: Checkpoint) => classifierTask(recipe, data, { backend, checkpoint });
  return { kind: "classifier", data, backend, open };
}

/** The recipe from flags, over what the run was started with, over the defaults. */
function readClassifierRecipe(
  command: Command,
  before: Json | undefined,
  { data, model }: { data: string; model: ClassifierConfig },
): ClassifierRecipe {
  const keys = Object.keys(RECIPE_FLAGS) as (keyof typeof RECIPE_FLAGS)[];
  const strengths = Object.keys(AUGMENT_FLAGS) as (keyof typeof AUGMENT_FLAGS)[];
  return {
    ...CLASSIFIER_RECIPE,
    ...readRecipe(command, keys, before),
    data,
    augment: readRecipe(command, strengths, partOf(before, "augment")),
    model,
  };
}
