/** The training runs of a study: each in a folder of its own, resumed where it was stopped. Measures and compares nothing. */

import type { ImageDataset } from "../../data/index.ts";
import { node } from "../../formats/builtins.node.ts";
import type { TensorMap } from "../../formats/dtype.ts";
import { readTensorFile } from "../../formats/node.ts";
import {
  Baseline,
  type BaselineKind,
  type BaselineOptions,
  baselineConfig,
  baselineSpecs,
  baselineTrainingFlops,
  drawBaseline,
  equalDepth,
} from "../../image/baselines/index.ts";
import { type VarConfig, varConfig } from "../../image/config.ts";
import { trainingFlops } from "../../image/cost.ts";
import { Var } from "../../image/model.ts";
import { generate } from "../../image/sampler.ts";
import { tokenCount } from "../../image/scales.ts";
import { type Picture, sheet } from "../../image/sheet.ts";
import { varSpecs } from "../../image/var-layout.ts";
import { countParams } from "../../nn/spec.ts";
import type { Backend } from "../../tensor/backend.ts";
import { type BaselineRecipe, baselineTask } from "../../train/baseline.ts";
import { type TrainEvent, trainLoop } from "../../train/loop.ts";
import { openRun } from "../../train/run.node.ts";
import { type HashedTokenizer, tokensIn } from "../../train/token-file.node.ts";
import type { TokenSet } from "../../train/tokens.ts";
import { VAR_RECIPE, type VarRecipe, varTask } from "../../train/var.ts";

export type ModelKind = "var" | BaselineKind;

/** What all runs of a study share. */
export interface Study {
  /** Holds the runs and the tokens. */
  readonly folder: string;
  /** The data set's word, for the recipes. */
  readonly data: string;
  readonly train: ImageDataset;
  readonly test: ImageDataset;
  readonly backend: Backend;
  readonly recipe: StudyRecipe;
  readonly signal?: AbortSignal;
}

/** What every model of a study is trained with; the number of updates is each run's own. */
export type StudyRecipe = Pick<
  VarRecipe,
  "seed" | "batch" | "lr" | "warmup" | "lrEnd" | "variants" | "augment"
>;

/** One model to be trained. */
export interface StudyRun {
  /** Its folder in the study's. */
  readonly name: string;
  readonly kind: ModelKind;
  readonly model: VarConfig;
  readonly tokenizer: HashedTokenizer;
  readonly steps: number;
  /** Updates between measurements on the test split; default all. */
  readonly evaluateEvery?: number;
}

/** A run's configuration: a baseline's when it is one, over this tokenizer's maps. */
export function runModel(
  kind: ModelKind,
  tokenizer: HashedTokenizer,
  { depth, classes, ...dials }: Partial<VarConfig> & { depth: number; classes: number },
): VarConfig {
  const { patchNums, codes, latent } = tokenizer.config;
  const all = { ...dials, classes, patchNums, codes, latent };
  return kind === "var" ? varConfig(depth, all) : baselineConfig(kind, depth, all);
}

/** The depth at which `kind` has as many parameters as a VAR of depth `depth`, at the same width. */
export const depthOf = (kind: ModelKind, depth: number): number =>
  kind === "var" ? depth : equalDepth(kind, depth);

/** Training FLOPs of one update on one picture. */
export const updateFlops = ({ kind, model }: Pick<StudyRun, "kind" | "model">): number =>
  (kind === "var" ? trainingFlops(model) : baselineTrainingFlops(kind, model)).total;

/** Updates that cost as many FLOPs as `budget`, at least one. */
export const stepsFor = (
  run: Pick<StudyRun, "kind" | "model">,
  { budget, batch }: { budget: number; batch: number },
): number => Math.max(1, Math.round(budget / (updateFlops(run) * batch)));

export const parametersOf = ({ kind, model }: Pick<StudyRun, "kind" | "model">): number =>
  countParams(kind === "var" ? varSpecs(model) : baselineSpecs(kind, model));

/** Tokens (or latent cells) that one picture has for this model. */
export const tokensPerPicture = ({ model }: Pick<StudyRun, "model">): number => tokenCount(model);

export type StudyEvent =
  | { readonly doing: "encoding"; readonly run: string; readonly done: number; readonly of: number }
  | { readonly doing: "training"; readonly run: string; readonly event: TrainEvent };

/**
 * Trains a run to its end, or on from where it was stopped; one that is finished costs nothing.
 * @throws the signal's reason when stopped, with everything saved
 */
export async function* trainRun(study: Study, run: StudyRun): AsyncGenerator<StudyEvent> {
  const { folder, data, backend, recipe: shared, signal } = study;
  const { name, kind, model, tokenizer, steps, evaluateEvery = steps } = run;
  const base = { ...VAR_RECIPE, ...shared, steps, model };
  const { mistakes: _, ...withoutMistakes } = base;
  const recipe = kind === "var" ? base : { ...withoutMistakes, kind };
  const place = node.path.join(folder, name);
  const whole = { data, tokenizer: tokenizer.hash, ...recipe };
  const { run: opened, checkpoint } = await openRun(place, whole);
  if (checkpoint?.step === steps && (await exists(finishedFile(study, run)))) return;
  const tokens: TokenSet[] = [];
  for (const set of [study.train, study.test]) {
    const variants = set.split === "train" ? shared.variants : 1;
    const file = node.path.join(folder, `tokens-${tokenizer.hash}-${set.split}.safetensors`);
    const { seed, augment } = shared;
    const options = { tokenizer, backend, seed, variants, augment, signal };
    for await (const { done, of, tokens: found } of tokensIn(file, set, options)) {
      if (found) tokens.push(found);
      yield { doing: "encoding", run: name, done, of };
    }
  }
  const [trainTokens, testTokens] = tokens as [TokenSet, TokenSet];
  const sets = { train: study.train, test: study.test, trainTokens, testTokens };
  const draw = (weights: TensorMap) => drawSheet(study, run, weights);
  const options = { backend, tokenizer, draw, checkpoint };
  const task =
    kind === "var"
      ? await varTask(recipe as VarRecipe, sets, options)
      : await baselineTask(recipe as BaselineRecipe, sets, options);
  const every = { evaluateEvery, drawEvery: steps, saveEvery: SAVE_EVERY };
  const loop = { steps, done: checkpoint?.step, signal, ...every };
  for await (const event of trainLoop(task, opened, loop))
    yield { doing: "training", run: name, event };
  signal?.throwIfAborted();
}

/** Updates between checkpoints: a kill costs a minute or two. */
const SAVE_EVERY = 50;

const exists = async (file: string) => Boolean(await node.fs.stat(file).catch(() => undefined));

/** The finished model of a run. */
export const finishedFile = ({ folder }: Pick<Study, "folder">, { name, kind }: StudyRun): string =>
  node.path.join(folder, name, `${kind}.safetensors`);

// ---- drawing

/** How a trained model draws; what a family has no use for is ignored. */
export type StudyDrawing = Pick<
  BaselineOptions,
  "guidance" | "topK" | "topP" | "temperature" | "steps"
>;

export interface DrawRunOptions extends StudyDrawing {
  readonly labels: readonly number[];
  readonly seed?: number;
  readonly first?: number;
  readonly batch?: number;
  readonly signal?: AbortSignal;
}

/** A trained model that draws. Has a life: release it. */
export interface Painter {
  draw(options: DrawRunOptions): AsyncGenerator<{ readonly picture: Picture }>;
  release(): Promise<void>;
}

/** The finished model of a run. */
export async function openPainter(study: Study, run: StudyRun): Promise<Painter> {
  const { tensors } = await readTensorFile(finishedFile(study, run));
  return painterOf(study, run, tensors);
}

function painterOf(study: Pick<Study, "backend" | "train">, run: StudyRun, weights: TensorMap) {
  const { kind, model, tokenizer } = run;
  const common = { weights, tokenizer: tokenizer.config, tokenizerWeights: tokenizer.weights };
  const { backend, train } = study;
  if (kind === "var") {
    const parts = { config: model, ...common };
    const now = new Var(parts, train.classes, { backend });
    const draw = ({ steps: _, ...options }: DrawRunOptions) => generate(now, options);
    return { draw, release: () => now.release() } satisfies Painter;
  }
  const now = new Baseline({ kind, config: model, ...common }, { backend });
  return {
    draw: (options: DrawRunOptions) => drawBaseline(now, options),
    release: () => now.release(),
  } satisfies Painter;
}

const SHEET = { count: 32, columns: 8 } as const;

/** Labels spread evenly over the classes, as many as wanted. */
export const spreadLabels = (count: number, classes: number): number[] =>
  Array.from({ length: count }, (_, i) =>
    classes > count ? Math.floor((i * classes) / count) : i % classes,
  );

async function drawSheet(study: Study, run: StudyRun, weights: TensorMap): Promise<Picture> {
  const painter = painterOf(study, run, weights);
  try {
    return await sheetOf(painter, { classes: study.train.classes.length });
  } finally {
    await painter.release();
  }
}

/** A sheet of the same classes and seed for every model. */
export async function sheetOf(
  painter: Painter,
  { classes, ...drawing }: StudyDrawing & { classes: number; signal?: AbortSignal },
): Promise<Picture> {
  const pictures: Picture[] = [];
  const labels = spreadLabels(SHEET.count, classes);
  for await (const { picture } of painter.draw({ labels, seed: 0, ...drawing }))
    pictures.push(picture);
  return sheet(pictures, { columns: SHEET.columns });
}
