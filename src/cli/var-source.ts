/** What a run of `train var` is made of: pictures, their tokens, the trainer. Reads no flags. */

import { join } from "node:path";
import { type ImageDataset, oneClass } from "../data/types.ts";
import type { TensorMap } from "../formats/dtype.ts";
import type { SizeOption } from "../formats/picture-size.ts";
import type { VarConfig } from "../image/config.ts";
import type { Drawing } from "../image/drawing.ts";
import { Var } from "../image/model.ts";
import { sample } from "../image/sampler.ts";
import { imageSize, tokenCount } from "../image/scales.ts";
import { type Picture, sheet } from "../image/sheet.ts";
import type { Backend } from "../tensor/backend.ts";
import { descend } from "../train/fine-tune.ts";
import type { Task } from "../train/loop.ts";
import type { Checkpoint, Run } from "../train/run.node.ts";
import { tokensIn } from "../train/token-file.node.ts";
import type { TokenSet } from "../train/tokens.ts";
import { type VarRecipe, varTask } from "../train/var.ts";
import { loadAncestor } from "./ancestor.ts";
import { progress } from "./progress.ts";
import type { Terminal } from "./terminal.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";
import {
  backendWith,
  checkSame,
  openSplits,
  type RunSource,
  type SourceOptions,
} from "./training.ts";

/** Pictures of a sample sheet, and how they are drawn: fixed, so that sheets of one run can be compared. */
const SHEET = { count: 32, columns: 8, seed: 0 } as const;

/** A recipe with the files it is about, as a run's folder holds it. */
export interface VarRunRecipe extends VarRecipe {
  readonly data: string;
  readonly tokenizer: { readonly file: string; readonly hash: string };
  /** The model whose weights it starts from. */
  readonly from?: { readonly file: string; readonly hash: string };
  /** Without classes. */
  readonly unconditional?: true;
}

/** Both splits, with the one class that a model without classes has. */
export async function openSets(
  terminal: Terminal,
  { data, unconditional }: Pick<VarRunRecipe, "data"> & { unconditional?: boolean },
  options: { size: SizeOption; strict?: boolean; signal: AbortSignal },
): Promise<RunSource["data"]> {
  const { train, test } = await openSplits(terminal, data, options);
  return unconditional ? { train: oneClass(train), test: oneClass(test) } : { train, test };
}

/** The trainer on made-up tokens: as slow and as large as on true ones. */
export async function trialTask(
  recipe: VarRunRecipe,
  { tokenizer, sets, threads }: { tokenizer: Tokenizer; sets: RunSource["data"]; threads?: number },
): Promise<Task> {
  const length = tokenCount(recipe.model);
  const tokens = ({ count }: ImageDataset): TokenSet => {
    const ids = Int32Array.from({ length: count * length }, (_, i) => i % recipe.model.codes);
    return { count, variants: 1, length, ids, read: ids };
  };
  const data = { ...sets, trainTokens: tokens(sets.train), testTokens: tokens(sets.test) };
  const draw = () => Promise.reject(new Error("a trial draws nothing"));
  return varTask(recipe, data, { backend: await backendWith(threads), tokenizer, draw });
}

/** What a transformer's run is made of, by its recipe. Tokens lie in the run's folder, or are computed now. */
export async function varSource(
  terminal: Terminal,
  recipe: VarRunRecipe,
  options: SourceOptions & { run: Run; tokenizer?: Tokenizer; data?: RunSource["data"] },
): Promise<RunSource> {
  const { run, signal } = options;
  const tokenizer = options.tokenizer ?? (await loadTokenizer(recipe.tokenizer.file));
  checkSame(recipe.tokenizer, tokenizer, "the tokenizer of the run");
  const size = imageSize(tokenizer.config);
  const data = options.data ?? (await openSets(terminal, recipe, { size, signal }));
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
  const drawing = recipe.unconditional ? { guidance: 0 } : undefined; // there is nothing to guide away from
  const labels = data.train.classes;
  const draw = (weights: TensorMap) =>
    drawSheet(weights, { backend, tokenizer, model: recipe.model, labels, drawing });
  const open = async (checkpoint?: Checkpoint) => {
    const initial = checkpoint ? undefined : await beginning(terminal, recipe, labels);
    const life = { backend, tokenizer, draw, checkpoint, initial, drawing };
    return varTask(recipe, { ...data, trainTokens, testTokens }, life);
  };
  return { kind: "var", data, tokens: trainTokens, backend, open };
}

/** Where training starts from another model: its weights, with what changed said line by line. */
async function beginning(
  terminal: Terminal,
  { from, model }: VarRunRecipe,
  labels: readonly string[],
): Promise<((fresh: TensorMap) => TensorMap) | undefined> {
  if (!from) return undefined;
  const ancestor = await loadAncestor(from.file);
  checkSame(from, ancestor, "the model the run started from");
  return (fresh) => {
    const { weights, remarks } = descend(model, fresh, { from: ancestor, labels });
    terminal.say(`starts from ${from.file}`);
    for (const remark of remarks) terminal.say(`  ${remark}`);
    return weights;
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
    drawing,
  }: {
    backend: Backend;
    tokenizer: Tokenizer;
    model: VarConfig;
    labels: readonly string[];
    drawing?: Partial<Drawing>;
  },
): Promise<Picture> {
  const { config, weights: tokenizerWeights } = tokenizer;
  const parts = { config: model, weights, tokenizer: config, tokenizerWeights };
  const now = new Var(parts, labels, { backend, drawing });
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
