/** `underpaint train vqvae DATA`: trains a tokenizer. The loop and its words are in training.ts. */

import { type Command, Option } from "commander";
import { InputError } from "../formats/errors.ts";
import { labVqvaeConfig, type VqvaeConfig } from "../image/config.ts";
import type { FeatureNet } from "../image/perceptual.ts";
import { imageSize, patchNumsFor, patchSize, readPatchNums } from "../image/scales.ts";
import { shellWord } from "../lab/shell-word.ts";
import type { Backend } from "../tensor/backend.ts";
import { type Checkpoint, openRun } from "../train/run.node.ts";
import { checkAncestor, vqvaeTask } from "../train/vqvae.ts";
import { VQVAE_RECIPE, type VqvaeRecipe } from "../train/vqvae-recipe.ts";
import { interruptible } from "./errors.ts";
import { openFeatureNet } from "./feature-net.ts";
import { addSizeFlag, givenFlags, listFlag } from "./flags.ts";
import { tokenizerFile } from "./package.ts";
import {
  AUGMENT_FLAGS,
  addRecipeFlags,
  type RecipeFlags,
  readRecipe,
  UPDATE_FLAGS,
} from "./recipe-flags.ts";
import type { Terminal } from "./terminal.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";
import { vqvaeCost } from "./train-cost.ts";
import { openRebuiltJudge } from "./train-judge.ts";
import {
  addSharedFlags,
  backendWith,
  checkSame,
  earlierRecipe,
  fileOf,
  type Json,
  named,
  openSplits,
  partOf,
  type RunSource,
  type SharedFlags,
  type SourceOptions,
  train,
} from "./training.ts";
import { printFoundRate, printPlan } from "./trial.ts";

const RECIPE_FLAGS: RecipeFlags<
  Exclude<keyof VqvaeRecipe, "model" | "augment" | "network" | "from" | "only">
> = {
  ...UPDATE_FLAGS,
  weightDecay: { sentence: "Decoupled weight decay", real: true, min: 0, max: 10 },
  l1: { sentence: "Weight of the mean absolute error", real: true, min: 0 },
  l2: { sentence: "Weight of the mean squared error", real: true, min: 0 },
  vq: { sentence: "Weight of the codebook and commitment loss", real: true, min: 0 },
  perceptualWeight: { sentence: "Weight of the perceptual term", real: true, min: 0 },
  ema: {
    sentence: "Decay of the running mean of weights that becomes the model, 0 for none",
    real: true,
    min: 0,
    max: 0.999999,
  },
  entropy: {
    sentence: "Weight of the term that spreads the codes over the vectors of every scale",
    real: true,
    min: 0,
  },
  scaleDrop: {
    sentence: "Chance that a picture's finer scales are left out, so that coarse ones carry more",
    real: true,
    min: 0,
    max: 1,
  },
  codebookAt: {
    sentence: "When the codebook is drawn from the data by k-means, -1 for never",
    unit: "updates",
    min: -1,
    max: 1e9,
  },
  reviveEvery: {
    sentence: "Between revivals of dead codes, 0 for never",
    unit: "updates",
    min: 0,
    max: 1e9,
  },
  gan: { sentence: "Weight of the adversarial term, 0 for none", real: true, min: 0 },
  ganStart: { sentence: "Before the discriminator joins", unit: "updates", min: 0, max: 1e9 },
  ganWarmup: { sentence: "Rise of the adversarial term", unit: "updates", min: 0, max: 1e9 },
  ganLr: { sentence: "Highest learning rate of the discriminator", real: true, min: 0, max: 10 },
  ganChannels: { sentence: "Width of the discriminator", unit: "channels", min: 8, max: 1024 },
  ganLayers: { sentence: "Layers of the discriminator that halve the side", min: 1, max: 6 },
  ganAugment: {
    sentence: "Strength of colour, displacement and holes before pictures are judged",
    real: true,
    min: 0,
    max: 1,
  },
  lecam: { sentence: "Weight of the LeCam term of the discriminator", real: true, min: 0 },
};

const MODEL_FLAGS: RecipeFlags<
  "channels" | "resBlocks" | "groups" | "latent" | "codes" | "quantResi" | "beta"
> = {
  channels: { sentence: "Width of the first level", unit: "channels", min: 1, max: 4096 },
  resBlocks: { sentence: "Residual blocks of a level", min: 1, max: 16 },
  groups: { sentence: "Groups of the normalisations", min: 1, max: 4096 },
  latent: { sentence: "Width of a code vector", unit: "channels", min: 1, max: 1024 },
  codes: { sentence: "Size of the codebook", unit: "codes", min: 2, max: 1_048_576 },
  quantResi: {
    sentence: "Share of the convolution in phi, 0 for none",
    real: true,
    min: 0,
    max: 1,
  },
  beta: { sentence: "Weight of the commitment loss", real: true, min: 0 },
};

interface VqvaeFlags extends SharedFlags {
  readonly perceptual: string;
  readonly perceptualLayers?: string;
  readonly judge?: string;
  readonly from?: string;
}

export function addTrainVqvae(parent: Command, terminal: Terminal): void {
  const start = labVqvaeConfig();
  const command = parent
    .command("vqvae")
    .description("Trains a tokenizer: pictures to token maps of rising size, and back");
  addSharedFlags(command, "runs/vqvae");
  addRecipeFlags(command, RECIPE_FLAGS, VQVAE_RECIPE);
  addRecipeFlags(command, AUGMENT_FLAGS, {
    flip: 0,
    shift: 0,
    scale: 0,
    hue: 0,
    saturation: 0,
    brightness: 0,
  });
  addSizeFlag(command, { sentence: "Of the pictures", fallback: imageSize(start) });
  addRecipeFlags(command, MODEL_FLAGS, start);
  listFlag(command, "--ch-mult <list>", {
    sentence: "Width of each level over the first; each next level halves the side",
    fallback: start.chMult,
  });
  command
    .addOption(
      new Option(
        "--patch-nums <list>",
        "Token maps, as 1,2,3,4 or 1,2x1,3x2; default those in use for the size",
      ).argParser(readPatchNums),
    )
    .option(
      "--perceptual <network>",
      "Compare pictures through an ONNX file, lab:<data set>, a classifier's file, or off",
      "off",
    )
    .option("--perceptual-layers <names>", "Values of the ONNX file to compare, as a,b,c")
    .option(
      "--judge <network>",
      "Also tell rFID of the test split, seen through lab:<data set> or a file, as in eval",
    )
    .option("--from <tokenizer>", "Start from this tokenizer: a model's name, a file or a run")
    .addOption(
      new Option(
        "--only <part>",
        "What learns; the decoder alone leaves every picture's tokens as they are",
      )
        .choices(["all", "decoder"])
        .default(VQVAE_RECIPE.only),
    )
    .option("--cosine", "Choose codes by angle instead of by distance", start.usingZnorm)
    .option("--no-attention", "Leave out the attention of the deepest level")
    .option("--no-mid-attention", "Leave out the attention in the middle")
    .action(async (data: string, flags: VqvaeFlags) => {
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
  }: { data: string; flags: VqvaeFlags; command: Command; signal: AbortSignal },
): Promise<number> {
  const before = earlierRecipe(flags.run);
  const network = await networkOf(flags, { command, before });
  const ancestor = flags.from ? await loadTokenizer(tokenizerFile(flags.from)) : undefined;
  const recipe = {
    ...{ data, ...readVqvaeRecipe(command, before, ancestor) },
    network: network ? { name: network.name, hash: network.hash } : null,
  };
  const again = `underpaint train vqvae ${shellWord(data)} --run ${shellWord(flags.run)}`;
  const { threads, strict, json, judge } = flags;
  const source = await vqvaeSource(terminal, recipe, {
    ...{ threads, strict, signal, network, judge, ancestor },
  });
  if (flags.dryRun) {
    const plan = { recipe, json, next: again, signal, open: () => source.open() };
    await printPlan(terminal, vqvaeCost(recipe.model, recipe), plan);
    return 0;
  }
  if (flags.findLr) {
    const sweep = { folder: flags.run, updates: flags.findLr, json, again, signal };
    await printFoundRate(terminal, await source.open(), sweep);
    return 0;
  }
  const opened = await openRun(flags.run, recipe, { mayChange: ["steps"] });
  return train(
    terminal,
    { ...opened, source },
    {
      command,
      signal,
      metric: "psnr",
      again,
      next: (file) => `underpaint train var ${shellWord(data)} --tokenizer ${shellWord(file)}`,
    },
  );
}

/** The network that was named now, or that the run there was started with. */
function networkOf(
  { perceptual, perceptualLayers }: VqvaeFlags,
  { command, before }: { command: Command; before: Json | undefined },
): Promise<FeatureNet> | undefined {
  const earlier = partOf(before, "network") as VqvaeRecipe["network"] | undefined;
  const typed = givenFlags(command).has("perceptual");
  const name = typed ? perceptual : (earlier?.name ?? perceptual);
  const layers = perceptualLayers ?? earlier?.hash.split(" ")[1];
  return name === "off" ? undefined : openFeatureNet(name, layers?.split(","));
}

/** The network that a recipe names. @throws InputError where its file is another now */
async function sameNetwork({ network }: VqvaeRecipe): Promise<FeatureNet | undefined> {
  if (!network) return undefined;
  const { name, hash } = network;
  const found = await openFeatureNet(name, hash.split(" ")[1]?.split(","));
  if (found.hash === hash) return found;
  throw new InputError(
    `${name}: this is not the network of the run: it is ${found.hash}, the run has ${hash}; restore the file`,
    { name },
  );
}

/** The tokenizer that a run started from. @throws InputError where its file is another now */
async function sameAncestor({ from }: VqvaeRecipe): Promise<Tokenizer | undefined> {
  if (!from) return undefined;
  const found = await loadTokenizer(from.file);
  checkSame(from, found, "the tokenizer the run started from");
  return found;
}

/** What a tokenizer's run is made of, by its recipe. */
export async function vqvaeSource(
  terminal: Terminal,
  recipe: VqvaeRecipe & { readonly data: string },
  options: SourceOptions & { network?: FeatureNet; judge?: string; ancestor?: Tokenizer },
): Promise<RunSource> {
  const { threads, strict, signal } = options;
  const network = options.network ?? (await sameNetwork(recipe));
  const ancestor = options.ancestor ?? (await sameAncestor(recipe));
  checkAncestor(recipe, ancestor);
  const size = imageSize(recipe.model);
  const data = await openSplits(terminal, recipe.data, { size, strict, signal });
  const backend = await backendWith(threads);
  const judging = await openJudging(recipe, {
    judge: options.judge,
    count: data.test.count,
    backend,
  });
  const open = async (checkpoint?: Checkpoint) => {
    const judge = judging?.judge;
    const task = await vqvaeTask(recipe, data, { backend, checkpoint, network, judge, ancestor });
    if (!judging) return task;
    return { ...task, release: () => task.release().finally(() => judging.release()) };
  };
  return { kind: "vqvae", data, backend, open };
}

/** The network of --judge. Whole batches of the test split are judged: so many pictures must be enough for it. */
async function openJudging(
  { batch }: VqvaeRecipe,
  { judge, count, backend }: { judge: string | undefined; count: number; backend: Backend },
) {
  const size = Math.min(batch, count);
  if (judge === undefined) return undefined;
  return openRebuiltJudge(judge, { backend, pictures: count - (count % size) });
}

/**
 * The recipe from flags, over what the run was started with, over the tokenizer it starts from, over the defaults.
 * @throws InputError where parts do not fit
 */
export function readVqvaeRecipe(
  command: Command,
  before: Json | undefined,
  ancestor?: Tokenizer,
): VqvaeRecipe {
  const given = givenFlags(command);
  const old = (partOf(before, "model") ?? ancestor?.config) as Partial<VqvaeConfig> | undefined;
  const { size, chMult, patchNums, attention, midAttention, cosine, only } = command.opts();
  const choose = <T>(key: string, typed: T, earlier: T | undefined): T =>
    given.has(key) ? typed : (earlier ?? typed);
  const levels: readonly number[] = choose("chMult", chMult, old?.chMult);
  const sides =
    given.has("size") || !old ? patchNumsFor(size, patchSize({ chMult: levels })) : old.patchNums;
  const model = labVqvaeConfig({
    ...old,
    ...readRecipe(
      command,
      Object.keys(MODEL_FLAGS) as (keyof typeof MODEL_FLAGS)[],
      old as Json | undefined,
    ),
    chMult: levels,
    patchNums: given.has("patchNums") ? patchNums : sides,
    attention: choose("attention", attention, old?.attention),
    midAttention: choose("midAttention", midAttention, old?.midAttention),
    usingZnorm: choose("cosine", cosine, old?.usingZnorm),
  });
  const keys = Object.keys(RECIPE_FLAGS) as (keyof typeof RECIPE_FLAGS)[];
  const strengths = Object.keys(AUGMENT_FLAGS) as (keyof typeof AUGMENT_FLAGS)[];
  return {
    ...VQVAE_RECIPE,
    ...readRecipe(command, keys, before),
    from: (ancestor ? named(ancestor, before, "from") : fileOf(before, "from")) ?? null,
    only: choose("only", only, before?.only as VqvaeRecipe["only"] | undefined),
    augment: readRecipe(command, strengths, partOf(before, "augment")),
    model,
  };
}
