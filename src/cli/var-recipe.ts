/** The recipe of `train var` as flags, and flags as a recipe. Opens no files. */

import { type Command, Option } from "commander";
import { type VarConfig, varConfig } from "../image/config.ts";
import { SCHEDULES } from "../nn/schedule.ts";
import { VAR_RECIPE, type VarRecipe } from "../train/var.ts";
import { numberFlag } from "./flags.ts";
import {
  AUGMENT_FLAGS,
  addRecipeFlags,
  type RecipeFlags,
  readRecipe,
  UPDATE_FLAGS,
} from "./recipe-flags.ts";
import type { Tokenizer } from "./tokenizer.ts";
import { type Json, partOf } from "./training.ts";

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
  accumulate: {
    sentence: "Parts in which a batch is computed: the memory of one part, the update of all",
    min: 1,
    max: 65_536,
  },
  ema: {
    sentence: "Decay of the running mean of weights that becomes the model, 0 for none",
    real: true,
    min: 0,
    max: 0.999999,
  },
  patience: {
    sentence: "Ends after so long without a lower test loss and keeps the best model, 0 for never",
    unit: "updates",
    min: 0,
    max: 1e9,
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
/** Adds the flags of everything that the recipe fixes. */
export function addVarRecipeFlags(command: Command): void {
  const [decay, decayEnd] = VAR_RECIPE.weightDecay;
  numberFlag(command, "--depth <n>", {
    sentence: `The dial: blocks, and by default width and heads; default ${DEFAULT_DEPTH}`,
    unit: "blocks",
    min: 1,
    max: 1024,
  });
  addRecipeFlags(command, RECIPE_FLAGS, VAR_RECIPE);
  addRecipeFlags(command, DECAY_FLAGS, { weightDecay: decay, weightDecayEnd: decayEnd });
  command.addOption(
    new Option("--schedule <name>", `Curve of the learning rate: ${SCHEDULES}`).default(
      VAR_RECIPE.schedule,
    ),
  );
  addRecipeFlags(command, AUGMENT_FLAGS, {
    ...{ flip: 0, shift: 0, scale: 0, hue: 0, saturation: 0, brightness: 0 },
    ...VAR_RECIPE.augment,
  });
  addRecipeFlags(command, MODEL_FLAGS, {});
  command
    .option("--shared-ada-ln", "One modulation layer for all blocks: fewer parameters")
    .option("--no-ada-ln", "Plain LayerNorms; the class is the first token alone")
    .option("--no-attn-l2-norm", "Attention without normalised queries and keys");
}

/** The recipe from flags, over what the run was started with, over the defaults. @throws InputError where parts do not fit */
export function readVarRecipe(
  command: Command,
  before: Json | undefined,
  {
    tokenizer,
    classes,
    unconditional = false,
    ancestor,
  }: {
    tokenizer: Pick<Tokenizer, "config">;
    classes: number;
    unconditional?: boolean;
    /** Configuration of the model that training starts from. */
    ancestor?: VarConfig;
  },
): VarRecipe {
  const keysOf = <K extends string>(flags: RecipeFlags<K>) => Object.keys(flags) as K[];
  const old = (partOf(before, "model") as Partial<VarConfig> | undefined) ?? ancestor;
  const { depth, sharedAdaLn, adaLn, attnL2Norm, schedule } = command.opts();
  const typed = (key: string) => command.getOptionValueSource(key) === "cli";
  const { patchNums, codes, latent } = tokenizer.config;
  const model = varConfig(depth ?? old?.depth ?? DEFAULT_DEPTH, {
    // Another depth means another width: nothing of the earlier model is kept then.
    ...(depth === undefined || depth === old?.depth ? old : undefined),
    ...readRecipe(command, keysOf(MODEL_FLAGS), undefined),
    ...(unconditional ? { labelDrop: 0 } : {}),
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
