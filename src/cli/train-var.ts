/** `underpaint train var DATA`: trains a transformer on a tokenizer's tokens. The loop and its words are in training.ts. */

import { mkdirSync } from "node:fs";
import type { Command } from "commander";
import { imageSize } from "../image/scales.ts";
import { shellWord } from "../lab/shell-word.ts";
import { openRun, runIn } from "../train/run.node.ts";
import { loadAncestor } from "./ancestor.ts";
import { interruptible } from "./errors.ts";
import { tokenizerFile, transformerFile } from "./package.ts";
import type { Terminal } from "./terminal.ts";
import { loadTokenizer } from "./tokenizer.ts";
import { varCost } from "./train-cost.ts";
import {
  addSharedFlags,
  earlierRecipe,
  fileOf,
  named,
  type SharedFlags,
  train,
} from "./training.ts";
import { printFoundRate, printPlan } from "./trial.ts";
import { addVarRecipeFlags, readVarRecipe } from "./var-recipe.ts";
import { openSets, trialTask, type VarRunRecipe, varSource } from "./var-source.ts";

interface VarFlags extends SharedFlags {
  readonly tokenizer: string;
  readonly from?: string;
  readonly unconditional?: boolean;
}

export function addTrainVar(parent: Command, terminal: Terminal): void {
  const command = parent
    .command("var")
    .description("Trains a transformer to predict the next scale of a tokenizer's tokens");
  addSharedFlags(command, "runs/var").requiredOption(
    "--tokenizer <path>",
    "The tokenizer: a model's name, its file, or the folder of its run",
  );
  addVarRecipeFlags(command);
  command
    .option(
      "--from <model>",
      "Start from this model's weights: its name, file or run; scales and classes may be others",
    )
    .option("--unconditional", "Learn the pictures without their classes")
    .action(async (data: string, flags: VarFlags) => {
      process.exitCode = await interruptible((signal) =>
        run(terminal, { data, flags, command, signal }),
      );
    });
}

interface Job {
  readonly data: string;
  readonly flags: VarFlags;
  readonly command: Command;
  readonly signal: AbortSignal;
}

async function run(terminal: Terminal, { data, flags, command, signal }: Job): Promise<number> {
  const tokenizer = await loadTokenizer(tokenizerFile(flags.tokenizer));
  const size = imageSize(tokenizer.config);
  const before = earlierRecipe(flags.run);
  const unconditional = flags.unconditional ?? before?.unconditional === true;
  const { threads, strict, json } = flags;
  const sets = await openSets(terminal, { data, unconditional }, { size, strict, signal });
  const ancestor = flags.from ? await loadAncestor(transformerFile(flags.from)) : undefined;
  const values = readVarRecipe(command, before, {
    ...{ tokenizer, unconditional },
    classes: sets.train.classes.length,
    ancestor: ancestor?.config,
  });
  const recipe: VarRunRecipe = {
    data,
    tokenizer: named(tokenizer, before, "tokenizer"),
    ...(unconditional && { unconditional }),
    from: ancestor ? named(ancestor, before, "from") : fileOf(before, "from"),
    ...values,
  };
  const again = `underpaint train var ${shellWord(data)} --tokenizer ${shellWord(flags.tokenizer)} --run ${shellWord(flags.run)}`;
  if (flags.dryRun) {
    const open = () => trialTask(recipe, { tokenizer, sets, threads });
    const plan = { recipe: { ...recipe }, json, next: again, signal, open };
    await printPlan(terminal, varCost(recipe.model, recipe), plan);
    return 0;
  }
  if (flags.findLr) {
    mkdirSync(flags.run, { recursive: true }); // tokens are kept there
    const run = runIn(flags.run);
    const source = await varSource(terminal, recipe, {
      threads,
      signal,
      run,
      tokenizer,
      data: sets,
    });
    const sweep = { folder: flags.run, updates: flags.findLr, json, again, signal };
    await printFoundRate(terminal, await source.open(), sweep);
    return 0;
  }
  const opened = await openRun(flags.run, recipe, { mayChange: ["steps"] });
  const { run } = opened;
  const known = { tokenizer, data: sets };
  const source = await varSource(terminal, recipe, { threads, signal, run, ...known });
  return train(
    terminal,
    { ...opened, source },
    {
      command,
      signal,
      metric: "accuracy",
      again,
      next: (file) =>
        `underpaint sample --model ${shellWord(file)} --tokenizer ${shellWord(tokenizer.file)} --count 32 --sheet sheet.png`,
    },
  );
}
