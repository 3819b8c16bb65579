/** `underpaint train var DATA`: trains a transformer on a tokenizer's tokens. The loop and its words are in training.ts. */

import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import type { ImageDataset } from "../data/types.ts";
import type { TensorMap } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { imageSide, type VarConfig, varConfig } from "../image/config.ts";
import { Var } from "../image/model.ts";
import { sample } from "../image/sampler.ts";
import { type Picture, sheet } from "../image/sheet.ts";
import { curves } from "../nn/schedule.ts";
import type { Backend } from "../tensor/backend.ts";
import { type Checkpoint, openRun, type Run } from "../train/run.node.ts";
import { tokensIn } from "../train/token-file.node.ts";
import type { TokenSet } from "../train/tokens.ts";
import { VAR_RECIPE, type VarRecipe, varTask } from "../train/var.ts";
import { interruptible } from "./errors.ts";
import { numberFlag } from "./flags.ts";
import { tokenizerFile } from "./package.ts";
import { progress } from "./progress.ts";
import {
  AUGMENT_FLAGS,
  addRecipeFlags,
  type RecipeFlags,
  readRecipe,
  UPDATE_FLAGS,
} from "./recipe-flags.ts";
import type { Terminal } from "./terminal.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";
import { varCost } from "./train-cost.ts";
import {
  addSharedFlags,
  backendWith,
  earlierRecipe,
  type Json,
  openSplits,
  partOf,
  printPlan,
  type RunSource,
  type SharedFlags,
  type SourceOptions,
  shellWord,
  train,
} from "./training.ts";

const RECIPE_FLAGS: RecipeFlags<
  Exclude<keyof VarRecipe, "model" | "augment" | "schedule" | "weightDecay">
> = {
  ...UPDATE_FLAGS,
  lrEnd: { sentence: "Learning rate at the end over the highest", real: true, min: 0, max: 1 },
  labelSmoothing: {
    sentence: "Share of the target spread over all codes",
    real: true,
    min: 0,
    max: 0.99,
  },
  variants: {
    sentence: "Changed versions of every picture, one per epoch in turn",
    min: 1,
    max: 1024,
  },
  mistakes: {
    sentence: "Largest share of a picture's tokens misread, so that their repair is learnt",
    real: true,
    min: 0,
    max: 1,
  },
};
/** Weight decay has a start and an end. */
const DECAY_FLAGS: RecipeFlags<"weightDecay" | "weightDecayEnd"> = {
  weightDecay: { sentence: "Decoupled weight decay at the start", real: true, min: 0, max: 10 },
  weightDecayEnd: { sentence: "Decoupled weight decay at the end", real: true, min: 0, max: 10 },
};
const MODEL_FLAGS: RecipeFlags<
  "width" | "heads" | "mlpRatio" | "dropPath" | "labelDrop" | "gammaInit"
> = {
  width: {
    sentence: "Width of the model; default 64 times the depth",
    unit: "channels",
    min: 1,
    max: 65_536,
  },
  heads: { sentence: "Attention heads; default one per 64 channels", min: 1, max: 4096 },
  mlpRatio: {
    sentence: "Width of the feed-forward part over the model's; default 4",
    real: true,
    min: 0.01,
    max: 64,
  },
  dropPath: {
    sentence: "Drop-path rate of the last block; default 0.1 depth / 24",
    real: true,
    min: 0,
    max: 0.99,
  },
  labelDrop: {
    sentence: "Probability that a class is hidden in training; default 0.1",
    real: true,
    min: 0,
    max: 1,
  },
  gammaInit: {
    sentence: "Starting scale of the residual gates; default 0.001",
    real: true,
    min: 0,
    max: 10,
  },
};
const DEFAULT_DEPTH = 6;
/** Pictures of a sample sheet, and how they are drawn: fixed, so that sheets of one run can be compared. */
const SHEET = { count: 32, columns: 8, seed: 0 } as const;

interface VarFlags extends SharedFlags {
  readonly tokenizer: string;
}

export function addTrainVar(parent: Command, terminal: Terminal): void {
  const [decay, decayEnd] = VAR_RECIPE.weightDecay;
  const command = parent
    .command("var")
    .description("Trains a transformer to predict the next scale of a tokenizer's tokens");
  addSharedFlags(command, "runs/var").requiredOption(
    "--tokenizer <path>",
    "The tokenizer: its file, or the folder of its run",
  );
  numberFlag(command, "--depth <n>", {
    sentence: `The dial: blocks, and by default width and heads; default ${DEFAULT_DEPTH}`,
    unit: "blocks",
    min: 1,
    max: 1024,
  });
  addRecipeFlags(command, RECIPE_FLAGS, VAR_RECIPE);
  addRecipeFlags(command, DECAY_FLAGS, { weightDecay: decay, weightDecayEnd: decayEnd });
  command.addOption(
    new Option(
      "--schedule <name>",
      `Curve of the learning rate: ${Object.keys(curves).join(", ")} or lin0.1 to lin0.9`,
    ).default(VAR_RECIPE.schedule),
  );
  addRecipeFlags(command, AUGMENT_FLAGS, {
    ...{ flip: 0, shift: 0, scale: 0, hue: 0, saturation: 0, brightness: 0 },
    ...VAR_RECIPE.augment,
  });
  addRecipeFlags(command, MODEL_FLAGS, {});
  command
    .option("--shared-ada-ln", "One modulation layer for all blocks: fewer parameters")
    .option("--no-ada-ln", "Plain LayerNorms; the class is the first token alone")
    .option("--no-attn-l2-norm", "Attention without normalised queries and keys")
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
  const size = imageSide(tokenizer.config);
  const sets = await openSplits(terminal, data, { size, signal });
  const values = readVarRecipe(command, earlierRecipe(flags.run), {
    tokenizer,
    classes: sets.train.classes.length,
  });
  const recipe = {
    data,
    tokenizer: { file: resolve(tokenizer.file), hash: tokenizer.hash },
    ...values,
  };
  const again = `underpaint train var ${shellWord(data)} --tokenizer ${shellWord(flags.tokenizer)} --run ${shellWord(flags.run)}`;
  if (flags.dryRun) {
    printPlan(terminal, varCost(recipe.model, recipe), { recipe, json: flags.json, next: again });
    return 0;
  }
  // The file may have moved: its hash says whether it is the same.
  const earlier = partOf(earlierRecipe(flags.run), "tokenizer") as
    | typeof recipe.tokenizer
    | undefined;
  if (earlier?.hash === recipe.tokenizer.hash) recipe.tokenizer = earlier;
  const opened = await openRun(flags.run, recipe, { mayChange: ["steps"] });
  const { threads } = flags;
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

/** A recipe with the files it is about, as a run's folder holds it. */
export interface VarRunRecipe extends VarRecipe {
  readonly data: string;
  readonly tokenizer: { readonly file: string; readonly hash: string };
}

/** What a transformer's run is made of, by its recipe. Tokens lie in the run's folder, or are computed now. */
export async function varSource(
  terminal: Terminal,
  recipe: VarRunRecipe,
  options: SourceOptions & { run: Run; tokenizer?: Tokenizer; data?: RunSource["data"] },
): Promise<RunSource> {
  const { run, signal } = options;
  const { file, hash } = recipe.tokenizer;
  const tokenizer = options.tokenizer ?? (await loadTokenizer(file));
  if (tokenizer.hash !== hash)
    throw new InputError(
      `${file}: this is not the tokenizer of the run: its SHA-256 begins with ${tokenizer.hash}, the run has ${hash}; restore the file`,
      { file },
    );
  const size = imageSide(tokenizer.config);
  const data = options.data ?? (await openSplits(terminal, recipe.data, { size, signal }));
  const backend = await backendWith(options.threads);
  const { seed, variants, augment, mistakes } = recipe;
  const common = { tokenizer, backend, signal, seed };
  const trainTokens = await loadTokens(terminal, run, {
    ...common,
    ...{ set: data.train, variants, augment, mistakes },
  });
  const testTokens = await loadTokens(terminal, run, {
    ...common,
    ...{ set: data.test, variants: 1, augment: {}, mistakes: 0 },
  });
  const draw = (weights: TensorMap) =>
    drawSheet(weights, { backend, tokenizer, model: recipe.model, labels: data.train.classes });
  const open = (checkpoint?: Checkpoint) =>
    varTask(recipe, { ...data, trainTokens, testTokens }, { backend, tokenizer, draw, checkpoint });
  return { kind: "var", data, tokens: trainTokens, backend, open };
}

/** The recipe from flags, over what the run was started with, over the defaults. @throws InputError where parts do not fit */
export function readVarRecipe(
  command: Command,
  before: Json | undefined,
  { tokenizer, classes }: { tokenizer: Pick<Tokenizer, "config">; classes: number },
): VarRecipe {
  const keysOf = <K extends string>(flags: RecipeFlags<K>) => Object.keys(flags) as K[];
  const old = partOf(before, "model") as Partial<VarConfig> | undefined;
  const { depth, sharedAdaLn, adaLn, attnL2Norm, schedule } = command.opts();
  const typed = (key: string) => command.getOptionValueSource(key) === "cli";
  const { patchNums, codes, latent } = tokenizer.config;
  const model = varConfig(depth ?? old?.depth ?? DEFAULT_DEPTH, {
    // Another depth means another width: nothing of the earlier model is kept then.
    ...(depth === undefined || depth === old?.depth ? old : undefined),
    ...readRecipe(command, keysOf(MODEL_FLAGS), undefined),
    ...(typed("sharedAdaLn") ? { sharedAdaLN: sharedAdaLn } : {}),
    ...(typed("adaLn") ? { adaLN: adaLn } : {}),
    ...(typed("attnL2Norm") ? { attnL2Norm } : {}),
    ...{ patchNums, codes, latent, classes },
  });
  const [start, end] = (before?.weightDecay as [number, number] | undefined) ?? [];
  const decay = readRecipe(command, keysOf(DECAY_FLAGS), {
    weightDecay: start,
    weightDecayEnd: end,
  });
  return {
    ...VAR_RECIPE,
    ...readRecipe(command, keysOf(RECIPE_FLAGS), before),
    schedule: typed("schedule") ? schedule : String(before?.schedule ?? schedule),
    weightDecay: [decay.weightDecay!, decay.weightDecayEnd!], // both flags have defaults
    augment: readRecipe(command, keysOf(AUGMENT_FLAGS), partOf(before, "augment")),
    model,
  };
}

type TokenJob = Parameters<typeof tokensIn>[2] & { readonly set: ImageDataset };

/** Tokens of a split, from the run's folder where they are there already. */
async function loadTokens(terminal: Terminal, run: Run, job: TokenJob): Promise<TokenSet> {
  const { set, variants = 1 } = job;
  const what = `encoding ${set.split} pictures`;
  const shown = progress(terminal, { of: variants * set.count, what });
  try {
    for await (const { done, tokens } of tokensIn(
      join(run.folder, `tokens-${set.split}.safetensors`),
      set,
      job,
    )) {
      shown.update(done);
      if (tokens) return tokens;
    }
  } finally {
    shown.clear();
  }
  throw new Error("tokensIn ended without tokens");
}

/** What the model draws now: the same classes and seed at every time. */
async function drawSheet(
  weights: TensorMap,
  {
    backend,
    tokenizer,
    model,
    labels,
  }: { backend: Backend; tokenizer: Tokenizer; model: VarConfig; labels: readonly string[] },
): Promise<Picture> {
  const { config, weights: tokenizerWeights } = tokenizer;
  const parts = { config: model, weights, tokenizer: config, tokenizerWeights };
  const now = new Var(parts, labels, { backend });
  const { count, columns, seed } = SHEET;
  // Spread over the classes where there are more of them than pictures.
  const chosen = Array.from({ length: count }, (_, i) =>
    labels.length > count ? Math.floor((i * labels.length) / count) : i % labels.length,
  );
  try {
    let pictures: Picture[] = [];
    for await (const step of sample(now, { labels: chosen, seed }))
      if (step.scale === step.of - 1) pictures = await step.pictures();
    return sheet(pictures, { columns });
  } finally {
    await now.release();
  }
}
